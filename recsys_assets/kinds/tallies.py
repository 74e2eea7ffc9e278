"""Tallies: the distinct rows of a day with their counts, kept for longer windows and put together again."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import ipc

from recsys_assets.compiled.strings import Codes
from recsys_assets.errors import CorruptObjectError
from recsys_assets.events.events import Events
from recsys_assets.events.windows import merge_days
from recsys_assets.kinds.decay import AGE

COUNT = "count"
MAX_TALLY_BYTES = 4_000_000_000
_DIGEST_BYTES = 32


def tally_day(events: Events, columns: Sequence[str]) -> Events:
    """Return the day's distinct rows in these columns, in the order in which each first stands, with a column `count`.

    Kernels make the same of tallies as of the days themselves: counts add up, a session or user in several days is
    judged as one, and the first row of a user is that of the user's first event.
    """
    codes = events.codes.group_by(list(columns), maintain_order=True).agg(pl.len().cast(pl.UInt32).alias(COUNT))
    return Events(codes, {name: events.ids[name] for name in columns if name in events.ids})


def merge_tallies(days: Sequence[Events]) -> Events:
    """Return the tallies of days, oldest first, as one: rows one behind the other, codes of one common dictionary."""
    plain = [name for name in (COUNT, AGE) if name in days[0].codes.columns]  # columns that are no codes
    merged = merge_days([Events(day.codes.drop(plain), day.ids) for day in days])
    return Events(merged.codes.with_columns(pl.concat([day.codes[name] for day in days]) for name in plain), merged.ids)


def repeats_of(events: Events) -> Codes:
    """Return how many events each row stands for; empty if each is one event."""
    return events.codes[COUNT].to_numpy() if COUNT in events.codes.columns else np.empty(0, np.uint32)


def tally_address(digest: str, columns: Sequence[str]) -> str:
    """Return what names the tally of a canonical day (by its digest) in these columns, as this code makes it."""
    return hashlib.sha256("\n".join((digest, *columns, _code())).encode()).hexdigest()


@cache
def _code() -> str:
    """Return a digest of this code: of the text that makes and writes tallies."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def encode_tally(tally: Events) -> bytes:
    """Return a tally as one Arrow IPC file with its dictionaries, sealed by its SHA-256; the same gives the same."""
    coded = {
        name: pa.DictionaryArray.from_arrays(tally.codes[name].to_arrow(), ids.to_arrow().cast(pa.large_string()))
        for name, ids in tally.ids.items()
    }
    table = pa.table({name: coded.get(name, tally.codes[name].to_arrow()) for name in tally.codes.columns})
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table, max_chunksize=max(len(table), 1))
    data = sink.getvalue().to_pybytes()
    return data + hashlib.sha256(data).digest()


def decode_tally(data: bytes) -> Events:
    """Return a tally from the bytes of `encode_tally`; raises `CorruptObjectError` if they are something else."""
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
