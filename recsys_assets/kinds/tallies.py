"""Tallies: the distinct rows of a day with their counts, weighted by their age, kept for longer windows."""

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

from recsys_assets.compiled.strings import Codes, Numbers
from recsys_assets.errors import CorruptObjectError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.events import Events

AGE = "age"  # the column of `Events` that counts days back from the window's last one; absent: all of one day
TODAY: Final = 1000  # what an event of the window's last day weighs where older ones weigh less
_DIGITS = 50  # far more than a rounding to whole thousandths could notice
COUNT = "count"
MAX_TALLY_BYTES = 4_000_000_000
_DIGEST_BYTES = 32


def with_ages(days: Sequence[Events], ages: Sequence[int]) -> list[Events]:
    """Return the events of days, each with the column `AGE`."""
    return [
        Events(day.codes.with_columns(pl.lit(age, pl.UInt32).alias(AGE)), day.ids)
        for day, age in zip(days, ages, strict=True)
    ]


def weights_by_age(half_life_days: int, *, oldest: int) -> Numbers:
    """Return what an event of each age up to `oldest` days weighs, in thousandths: half after a half-life, never none.

    Exponential decay, computed in decimals and rounded once: no machine's logarithm decides about a score.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        exact = (TODAY * Decimal(2) ** (Decimal(-age) / half_life_days) for age in range(oldest + 1))
        return np.array([max(1, int(weight.to_integral_value())) for weight in exact], np.int64)


def ages_of(events: Events) -> Codes:
    """Return the age of each row in days; zeros if all are of the window's last day."""
    if AGE in events.codes.columns:
        return events.codes[AGE].to_numpy()
    return np.zeros(len(events.codes), np.uint32)


def row_weights(events: Events, half_life_days: int) -> Numbers:
    """Return what each row weighs, in thousandths."""
    ages = ages_of(events)
    return weights_by_age(half_life_days, oldest=int(ages.max(initial=0)))[ages]


def tally_day(events: Events, columns: Sequence[str]) -> Events:
    """Return the day's distinct rows in these columns, in the order in which each first stands, with a column `count`.

    Kernels make the same of tallies as of the days themselves: counts add up, a session or user in several days is
    judged as one, and the first row of a user is that of the user's first event.
    """
    codes = events.codes.group_by(list(columns), maintain_order=True).agg(pl.len().cast(pl.UInt32).alias(COUNT))
    return Events(codes, {name: events.ids[name] for name in columns if name in events.ids})


def merge_tallies(days: Sequence[Events]) -> Events:
    """Return the tallies of days, oldest first, as one: rows one behind the other, codes of one common dictionary.

    They may be as narrow as they are stored; the result is as kernels read it.
    """
    if len(days) == 1:
        return Events(days[0].codes.with_columns(pl.col(pl.UInt8, pl.UInt16, pl.UInt32).cast(pl.UInt32)), days[0].ids)
    plain = [name for name in (COUNT, AGE) if name in days[0].codes.columns]  # columns that are no codes
    merged = merge_days([Events(day.codes.drop(plain), day.ids) for day in days])
    widened = (pl.concat([day.codes[name].cast(pl.UInt32) for day in days]) for name in plain)
    return Events(merged.codes.with_columns(widened), merged.ids)


def repeats_of(events: Events) -> Codes:
    """Return how many events each row stands for; empty if each is one event."""
    return events.codes[COUNT].to_numpy() if COUNT in events.codes.columns else np.empty(0, np.uint32)


def tally_address(digest: str, columns: Sequence[str], *, code: str | None = None) -> str:
    """Return what names the tally of a canonical day (by its digest) in these columns, as this code makes it.

    `code` is the digest of other code that made it.
    """
    return hashlib.sha256("\n".join((digest, *columns, code or _code())).encode()).hexdigest()


@cache
def _code() -> str:
    """Return a digest of this code: of the text that makes and writes tallies."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def encode_tally(tally: Events) -> bytes:
    """Return a tally as one Arrow IPC file with its dictionaries, sealed by its SHA-256; the same gives the same.

    Numbers are as narrow as they fit, and nothing is compressed: each night reads 27 of them, and unpacking them took
    longer than all that is done with them.
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
    """Return whole numbers that are not negative in the narrowest type that holds them; instants as they are."""
    if not column.dtype.is_unsigned_integer():
        return column
    largest = column.max()
    bits = largest.bit_length() if isinstance(largest, int) else 0
    return column.cast(pl.UInt8 if bits <= 8 else pl.UInt16 if bits <= 16 else pl.UInt32)  # noqa: PLR2004


def decode_tally(data: bytes) -> Events:
    """Return a tally from the bytes of `encode_tally`, whose memory it shares; its numbers are as narrow as there.

    Raises `CorruptObjectError` if the bytes are something else.
    """
    content = memoryview(data)[:-_DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-_DIGEST_BYTES:]:
        raise CorruptObjectError("no tally of a day: its bytes do not prove its digest; build the window again")
    try:
        table = ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all().combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"no tally of a day: {error}; build the window again") from error
    if COUNT not in table.column_names:
        raise CorruptObjectError(f"no tally of a day: columns {table.column_names}; build the window again")
    columns: dict[str, Any] = {name: table.column(name).chunk(0) for name in table.column_names if len(table)}
    if not columns:
        columns = {name: pa.array([], table.schema.field(name).type) for name in table.column_names}
    coded = {name for name, column in columns.items() if isinstance(column, pa.DictionaryArray)}
    codes = {name: pl.Series(name, column.indices if name in coded else column) for name, column in columns.items()}
    ids = {name: pl.Series(name, columns[name].dictionary, dtype=pl.String) for name in columns if name in coded}
    return Events(pl.DataFrame(codes), ids)
