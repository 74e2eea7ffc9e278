"""Events as Parquet: string columns for every reader, whose dictionaries give ours the codes back unread."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc, parquet

from recsys_assets.compiled.string_sort import ascending
from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.events.dictionaries import merge_coded
from recsys_assets.events.events import (
    ID_COLUMNS,
    SCHEMA,
    Events,
    arrow_column,
    arrow_strings,
    codes_in,
    codes_of,
    give_back_memory,
    id_series,
    numbers_of,
    strings_of,
)
from recsys_assets.ingest.part_merge import Part

T = TypeVar("T")
_INSTANT = pa.timestamp("ns", tz="UTC")
_MAX_DICTIONARY_BYTES = 2**31 - 1  # Arrow reads dictionaries with 32-bit offsets
_LONGEST_FIRST = ("request_id", "session_id", "user_id", "ts", "item_id", "rank", "event")  # so that all end together
_THREADS = 2  # columns at a time: more would hold more of what reading them takes
_MANY = 1 << 16  # rows, or bytes: the columns of a smaller day are done before a thread has begun
_NEVER = 1 << 30  # bytes of a dictionary page, from which on the writer would fall back to plain strings
SUFFIX = ".arrow"
_CODES = {pa.dictionary(index, pa.large_string()) for index in (pa.uint16(), pa.uint32())}
_TYPES = dict.fromkeys(ID_COLUMNS, _CODES) | {"ts": {pa.timestamp("ns", "UTC")}, "rank": {pa.uint8(), pa.int64()}}


def encode_events(events: Events) -> bytes:
    """Return all columns of canonical events as one Parquet row group; the same events give the same bytes.

    Raises `LimitExceededError` if the ids of a column take 2 GiB or more.
    """
    coded = [name for name in SCHEMA if name in ID_COLUMNS]
    numbers = [name for name in SCHEMA if name not in ID_COLUMNS]
    sink = BytesIO()  # hands out what it holds without a copy, and grows by an eighth where Arrow's own doubles
    write: Any = parquet.write_table  # its types do not know that settings may name columns
    write(
        pa.table({name: _arrow_column(events, name) for name in SCHEMA}),
        sink,
        compression="zstd",
        compression_level=1,
        row_group_size=max(len(events.codes), 1),
        dictionary_pagesize_limit=_NEVER,
        store_schema=False,
        # Of strings they cost more than all the rest, and help nobody in one row group.
        write_statistics=numbers,
        use_dictionary=coded,
        # Bits instead of eight bytes a row, before anything is compressed.
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
    )
    give_back_memory()
    return sink.getvalue()


def _arrow_column(events: Events, name: str) -> Any:
    """Return one column, ids as a dictionary of their codes."""
    column = events.codes[name].to_arrow()
    if name not in ID_COLUMNS:
        return column
    ids = strings_of(events.ids[name].to_arrow())
    if ids.offsets[-1] > _MAX_DICTIONARY_BYTES:
        raise LimitExceededError(f"the distinct {name}s take {ids.offsets[-1]} bytes: at most 2 GiB in one day")
    return pa.DictionaryArray.from_arrays(column, arrow_strings(ids), safe=False)


def decode_events(data: bytes, columns: Sequence[str] | None = None) -> Events:
    """Return canonical events, or some of their columns, from Parquet; in the order of the rows as they are stored.

    Codes and ids are taken as stored if the dictionary is one and ascending; else (another writer) coded again. Raises
    `CorruptObjectError` if the bytes are no Parquet of canonical events.
    """
    wanted = [name for name in _LONGEST_FIRST if columns is None or name in columns]
    read = _of_each(partial(_read, data), wanted, many=len(data) >= _MANY)
    frame = pl.DataFrame({name: read[name].values for name in SCHEMA if name in read})
    return Events(frame, {name: column.ids for name, column in read.items() if column.ids is not None})


def _of_each(work: Callable[[str], T], names: Sequence[str], *, many: bool) -> dict[str, T]:
    """Return what comes of each column, two at a time if that is worth the threads."""
    if not many:
        return {name: work(name) for name in names}
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


class _Column(NamedTuple):
    """One column as `Events` has it: numbers or codes, and the ids that codes stand for."""

    values: pl.Series
    ids: pl.Series | None = None


def _read(data: bytes, name: str) -> _Column:
    """Return one column; what reading it took is given back before the next is begun."""
    coded = [name] if name in ID_COLUMNS else []
    try:
        # Buffering ahead is for stores far away: of bytes in memory it only makes a copy.
        file = parquet.ParquetFile(pa.BufferReader(data), read_dictionary=coded, pre_buffer=False)
        # One chunk a row group; `read_table` would cut the rows into batches, each with the dictionary again.
        read = file.read(columns=[name], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"no Parquet of canonical events: {error}; build the day again") from error
    if name not in read.column_names:
        raise CorruptObjectError(f"expected the column {name}, found {file.schema_arrow.names}; build the day again")
    column = read.column(name).combine_chunks()
    give_back_memory()
    return _coded(name, column) if coded else _Column(_numbers(name, column))


def _coded(name: str, column: Any) -> _Column:
    """Return codes, which share memory with the column, and the ascending ids that they stand for."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        raise CorruptObjectError(f"{name}: expected strings, found {column.type}; build the day again")
    indices = column.indices if column.indices.type == pa.int32() else column.indices.cast(pa.int32())
    codes, ids = pl.Series(name, indices.view(pa.uint32())), strings_of(column.dictionary)
    if not ascending(ids):
        coded = merge_coded([codes_of(codes)], [ids])
        codes, ids = pl.Series(name, arrow_column(name, coded.codes)), coded.ids
    return _Column(codes, id_series(name, ids))


def _numbers(name: str, column: Any) -> pl.Series:
    expected = _INSTANT if name == "ts" else pa.int64()
    if column.type != expected or column.null_count:
        raise CorruptObjectError(f"{name}: expected {expected} without nulls, found {column.type}; build the day again")
    return pl.Series(name, column)


def encode_part(part: Part) -> bytes:
    """Return a part as one Arrow IPC file of the columns of events; its dictionaries stay in their order."""
    values = {"ts": part.ts, "rank": _narrow(part.rank, np.uint8, top=part.rank.max(initial=0))}
    arrays = {name: arrow_column(name, column) for name, column in values.items()}
    for name in ID_COLUMNS:
        ids = arrow_strings(part.ids[name])
        # One more than there are codes, so that `ABSENT`, cut to its lowest bits, stands for none of them.
        codes = arrow_column(name, _narrow(part.codes[name], np.uint16, top=len(ids)))
        arrays[name] = pa.DictionaryArray.from_arrays(codes, ids, safe=False)
    table = pa.table({name: arrays[name] for name in SCHEMA})
    sink = BytesIO()  # hands out what it holds without a copy
    # Arrow's threads would each keep memory that only they use again.
    with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(use_threads=False)) as writer:
        writer.write_table(table, max_chunksize=max(len(table), 1))
    return sink.getvalue()


def decode_part(data: bytes) -> Part:
    """Return a part from the bytes of `encode_part`; raises `CorruptObjectError` if they are something else."""
    try:
        table = ipc.open_file(pa.BufferReader(data)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"no part of a day: {error}; run raw of this day again") from error
    found = {field.name: field.type for field in table.schema}
    if found.keys() != _TYPES.keys() or any(kind not in _TYPES[name] for name, kind in found.items()):
        raise CorruptObjectError(f"no part of a day: expected {_TYPES}, found {found}; run raw of this day again")
    columns: dict[str, Any] = {name: table.column(name).combine_chunks() for name in SCHEMA}
    rank = columns["rank"]
    return Part(
        ts=numbers_of(columns["ts"], np.int64),
        rank=numbers_of(rank, np.dtype(str(rank.type)).type).astype(np.int64, copy=False),
        codes={name: codes_in(columns[name].indices) for name in ID_COLUMNS},
        ids={name: strings_of(columns[name].dictionary) for name in ID_COLUMNS},
    )


def _narrow(numbers: NDArray[Any], dtype: type[np.unsignedinteger[Any]], *, top: int) -> NDArray[Any]:
    """Return numbers in `dtype` if the `top` one fits."""
    return numbers.astype(dtype) if top <= np.iinfo(dtype).max else numbers
