"""Tallies: the distinct rows of a day with their counts, stored for longer windows, and weights by age."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import ipc

from recsys_assets.compiled.arrays import Codes, Numbers
from recsys_assets.errors import CorruptObjectError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.events import Events

AGE = "age"  # Column of `Events`: days before the last day of the window. Absent if all events are of one day.
TODAY: Final = 1000  # weight of an event of the window's last day, if older ones weigh less
_DIGITS = 50  # far more than rounding to thousandths needs
COUNT = "count"
MAX_TALLY_BYTES = 4_000_000_000
_DIGEST_BYTES = 32


def with_ages(days: Sequence[Events], ages: Sequence[int]) -> list[Events]:
    """Return the events of days with the column `AGE` (UInt32), in days."""
    return [
        Events(day.codes.with_columns(pl.lit(age, pl.UInt32).alias(AGE)), day.ids)
        for day, age in zip(days, ages, strict=True)
    ]


def weights_by_age(half_life_days: int, *, oldest: int) -> Numbers:
    """Return the weight of an event by age from 0 to `oldest` days, in thousandths (int64), at least 1.

    The decay is exponential with the half-life. It is computed in decimals and rounded once, so it is the same on every
    machine.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        exact = (TODAY * Decimal(2) ** (Decimal(-age) / half_life_days) for age in range(oldest + 1))
        return np.array([max(1, int(weight.to_integral_value())) for weight in exact], np.int64)


def ages_of(events: Events) -> Codes:
    """Return the age of each row in days (uint32), zeros without the column `AGE`."""
    if AGE in events.codes.columns:
        return events.codes[AGE].to_numpy()
    return np.zeros(len(events.codes), np.uint32)


def row_weights(events: Events, half_life_days: int) -> Numbers:
    """Return the weight of each row by its age, in thousandths (int64)."""
    ages = ages_of(events)
    return weights_by_age(half_life_days, oldest=int(ages.max(initial=0)))[ages]


def tally_day(events: Events, columns: Sequence[str]) -> Events:
    """Return the day's distinct rows in these columns, in order of first occurrence, with a column `count` (UInt32).

    Kernels compute the same from tallies as from the days themselves: counts add up, a session or user of several days
    is counted as one, and the first row of a user is that of the user's first event.
    """
    codes = events.codes.group_by(list(columns), maintain_order=True).agg(pl.len().cast(pl.UInt32).alias(COUNT))
    return Events(codes, {name: events.ids[name] for name in columns if name in events.ids})


def merge_tallies(days: Sequence[Events]) -> Events:
    """Concatenate the tallies of days, oldest first, with codes of a common dictionary.

    The columns of `days` may be as narrow as they are stored. The result has UInt32 columns, as kernels need them.
    """
    if len(days) == 1:
        return Events(days[0].codes.with_columns(pl.col(pl.UInt8, pl.UInt16, pl.UInt32).cast(pl.UInt32)), days[0].ids)
    numbers = [name for name in (COUNT, AGE) if name in days[0].codes.columns]  # columns that are not codes
    merged = merge_days([Events(day.codes.drop(numbers), day.ids) for day in days])
    widened = (pl.concat([day.codes[name].cast(pl.UInt32) for day in days]) for name in numbers)
    return Events(merged.codes.with_columns(widened), merged.ids)


def repeats_of(events: Events) -> Codes:
    """Return the number of events of each row (uint32), empty if each row is one event."""
    return events.codes[COUNT].to_numpy() if COUNT in events.codes.columns else np.empty(0, np.uint32)


def tally_address(digest: str, columns: Sequence[str], *, code: str | None = None) -> str:
    """Return the cache key (SHA-256, hex) of the tally of a canonical day in these columns, as this code computes it.

    `digest` is that of the canonical day. `code` is the digest of other code that computed the tally.
    """
    return hashlib.sha256("\n".join((digest, *columns, code or _code())).encode()).hexdigest()


@cache
def _code() -> str:
    """Return the digest of this module's source, which computes and encodes tallies."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def encode_tally(tally: Events) -> bytes:
    """Encode a tally as an Arrow IPC file with its dictionaries, followed by the SHA-256 of the file.

    Equal tallies have equal bytes. Numbers have the narrowest type that fits. Nothing is compressed: each night reads
    27 tallies, and decompression took longer than all further processing.
    """
    columns = {name: _narrow(tally.codes[name]).to_arrow() for name in tally.codes.columns}
    for name, ids in tally.ids.items():
        columns[name] = pa.DictionaryArray.from_arrays(
            columns[name], ids.to_arrow().cast(pa.large_string()), safe=False
        )
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(len(table), 1))
    data = sink.getvalue().to_pybytes()
    return data + hashlib.sha256(data).digest()


def _narrow(column: pl.Series) -> pl.Series:
    """Return unsigned integers in the narrowest type that fits. Other columns, such as timestamps, are unchanged."""
    if not column.dtype.is_unsigned_integer():
        return column
    largest = column.max()
    bits = largest.bit_length() if isinstance(largest, int) else 0
    return column.cast(pl.UInt8 if bits <= 8 else pl.UInt16 if bits <= 16 else pl.UInt32)  # noqa: PLR2004


def decode_tally(data: bytes) -> Events:
    """Decode a tally from the bytes of `encode_tally`. It shares their memory, and keeps the narrow types.

    Raises `CorruptObjectError` if the bytes are not a valid tally.
    """
    content = memoryview(data)[:-_DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-_DIGEST_BYTES:]:
        raise CorruptObjectError("invalid tally of a day: the digest does not match; build the window again")
    try:
        table = ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all().combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"invalid tally of a day: {error}; build the window again") from error
    if COUNT not in table.column_names:
        raise CorruptObjectError(f"invalid tally of a day: columns {table.column_names}; build the window again")
    columns: dict[str, Any] = {name: table.column(name).chunk(0) for name in table.column_names if len(table)}
    if not columns:
        columns = {name: pa.array([], table.schema.field(name).type) for name in table.column_names}
    coded = {name for name, column in columns.items() if isinstance(column, pa.DictionaryArray)}
    codes = {name: pl.Series(name, column.indices if name in coded else column) for name, column in columns.items()}
    ids = {name: pl.Series(name, columns[name].dictionary, dtype=pl.String) for name in columns if name in coded}
    return Events(pl.DataFrame(codes), ids)
