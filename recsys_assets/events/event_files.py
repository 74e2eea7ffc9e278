"""Events as Parquet: string columns for any reader, whose dictionaries are our codes. Parts are Arrow files."""

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
_LONGEST_FIRST = (
    "request_id",
    "session_id",
    "user_id",
    "ts",
    "item_id",
    "rank",
    "event",
)  # longest first, so that threads finish together
_THREADS = 2  # Columns read at a time. More would need more memory.
_MANY = 1 << 16  # Rows or bytes. Smaller days are faster without threads.
_NEVER = 1 << 30  # dictionary page size at which the writer would fall back to plain strings
SUFFIX = ".arrow"
_CODES = {pa.dictionary(index, pa.large_string()) for index in (pa.uint16(), pa.uint32())}
_TYPES = dict.fromkeys(ID_COLUMNS, _CODES) | {"ts": {pa.timestamp("ns", "UTC")}, "rank": {pa.uint8(), pa.int64()}}


def encode_events(events: Events) -> bytes:
    """Return all columns of canonical events as one Parquet row group. The same events give the same bytes.

    Raises `LimitExceededError` if the ids of a column take 2 GiB or more.
    """
    coded = [name for name in SCHEMA if name in ID_COLUMNS]
    numbers = [name for name in SCHEMA if name not in ID_COLUMNS]
    sink = BytesIO()  # returns its bytes without a copy, and grows by an eighth, while Arrow's buffer doubles
    write: Any = parquet.write_table  # its type stubs lack per-column options
    write(
        pa.table({name: _arrow_column(events, name) for name in SCHEMA}),
        sink,
        compression="zstd",
        compression_level=1,
        row_group_size=max(len(events.codes), 1),
        dictionary_pagesize_limit=_NEVER,
        store_schema=False,
        # Statistics of strings are expensive and useless with one row group.
        write_statistics=numbers,
        use_dictionary=coded,
        # Bits instead of eight bytes per row, before compression.
        column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
    )
    give_back_memory()
    return sink.getvalue()


def _arrow_column(events: Events, name: str) -> Any:
    """Return one column as an Arrow array, ids as a dictionary array."""
    column = events.codes[name].to_arrow()
    if name not in ID_COLUMNS:
        return column
    ids = strings_of(events.ids[name].to_arrow())
    if ids.offsets[-1] > _MAX_DICTIONARY_BYTES:
        raise LimitExceededError(f"the distinct {name}s take {ids.offsets[-1]} bytes: at most 2 GiB in one day")
    return pa.DictionaryArray.from_arrays(column, arrow_strings(ids), safe=False)


def decode_events(data: bytes, columns: Sequence[str] | None = None) -> Events:
    """Return canonical events, or some of their columns, from Parquet, in the stored row order.

    Codes and ids are used as stored if the dictionary is ascending, else (another writer) recoded. Raises
    `CorruptObjectError` if the bytes are not Parquet of canonical events.
    """
    wanted = [name for name in _LONGEST_FIRST if columns is None or name in columns]
    read = _of_each(partial(_read, data), wanted, many=len(data) >= _MANY)
    frame = pl.DataFrame({name: read[name].values for name in SCHEMA if name in read})
    return Events(frame, {name: column.ids for name, column in read.items() if column.ids is not None})


def _of_each(work: Callable[[str], T], names: Sequence[str], *, many: bool) -> dict[str, T]:
    """Return the result of `work` for each column, two at a time if `many`."""
    if not many:
        return {name: work(name) for name in names}
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


class _Column(NamedTuple):
    """Column of `Events`: numbers or codes, and the ids of codes."""

    values: pl.Series
    ids: pl.Series | None = None


def _read(data: bytes, name: str) -> _Column:
    """Return one column. Memory used for reading is released afterwards."""
    coded = [name] if name in ID_COLUMNS else []
    try:
        # Read-ahead is for remote stores. For bytes in memory it only copies.
        file = parquet.ParquetFile(pa.BufferReader(data), read_dictionary=coded, pre_buffer=False)
        # One chunk per row group. `read_table` returns batches, each with its own dictionary.
        read = file.read(columns=[name], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"not Parquet of canonical events: {error}; build the day again") from error
    if name not in read.column_names:
        raise CorruptObjectError(f"expected the column {name}, found {file.schema_arrow.names}; build the day again")
    column = read.column(name).combine_chunks()
    give_back_memory()
    return _coded(name, column) if coded else _Column(_numbers(name, column))


def _coded(name: str, column: Any) -> _Column:
    """Return codes, sharing memory with the column, and their ascending ids."""
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
    """Return a part as one Arrow IPC file with the columns of events. Dictionaries keep their order."""
    values = {"ts": part.ts, "rank": _narrow(part.rank, np.uint8, top=part.rank.max(initial=0))}
    arrays = {name: arrow_column(name, column) for name, column in values.items()}
    for name in ID_COLUMNS:
        ids = arrow_strings(part.ids[name])
        # One more than the highest code, so that truncated `ABSENT` is not a valid code.
        codes = arrow_column(name, _narrow(part.codes[name], np.uint16, top=len(ids)))
        arrays[name] = pa.DictionaryArray.from_arrays(codes, ids, safe=False)
    table = pa.table({name: arrays[name] for name in SCHEMA})
    sink = BytesIO()  # returns its bytes without a copy
    # Each of Arrow's threads would keep its own memory.
    with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(use_threads=False)) as writer:
        writer.write_table(table, max_chunksize=max(len(table), 1))
    return sink.getvalue()


def decode_part(data: bytes) -> Part:
    """Return a part from the bytes of `encode_part`. Raises `CorruptObjectError` for other bytes."""
    try:
        table = ipc.open_file(pa.BufferReader(data)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"not a part of a day: {error}; run raw of this day again") from error
    types = {field.name: field.type for field in table.schema}
    if types.keys() != _TYPES.keys() or any(kind not in _TYPES[name] for name, kind in types.items()):
        raise CorruptObjectError(f"not a part of a day: expected {_TYPES}, found {types}; run raw of this day again")
    columns: dict[str, Any] = {name: table.column(name).combine_chunks() for name in SCHEMA}
    rank = columns["rank"]
    return Part(
        ts=numbers_of(columns["ts"], np.int64),
        rank=numbers_of(rank, np.dtype(str(rank.type)).type).astype(np.int64, copy=False),
        codes={name: codes_in(columns[name].indices) for name in ID_COLUMNS},
        ids={name: strings_of(columns[name].dictionary) for name in ID_COLUMNS},
    )


def _narrow(numbers: NDArray[Any], dtype: type[np.unsignedinteger[Any]], *, top: int) -> NDArray[Any]:
    """Return numbers in `dtype` if `top` fits."""
    return numbers.astype(dtype) if top <= np.iinfo(dtype).max else numbers
