"""Events as Parquet: string columns for every reader, whose dictionaries give ours the codes back unread."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from recsys_assets.canonical.columns import arrow_strings, events_of, give_back_memory, strings_of
from recsys_assets.canonical.dictionaries import merge_coded
from recsys_assets.canonical.events import ID_COLUMNS, SCHEMA, Events
from recsys_assets.canonical.sorting import ascending
from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.raw.part import Strings

_INSTANT = pa.timestamp("ns", tz="UTC")
_MAX_DICTIONARY_BYTES = 2**31 - 1  # Arrow reads dictionaries with 32-bit offsets
_NEVER = 1 << 30  # bytes of a dictionary page, from which on the writer would fall back to plain strings


def encode_events(events: Events) -> bytes:
    """Return all columns of canonical events as one Parquet row group; the same events give the same bytes.

    Raises `LimitExceededError` if the ids of a column take 2 GiB or more.
    """
    arrays = {name: events.codes[name].to_arrow() for name in SCHEMA}
    ids = {name: strings_of(events.ids[name].to_arrow()) for name in ID_COLUMNS}
    for name, strings in ids.items():
        if strings.offsets[-1] > _MAX_DICTIONARY_BYTES:
            raise LimitExceededError(f"the distinct {name}s take {strings.offsets[-1]} bytes: at most 2 GiB in one day")
    coded = {name: pa.DictionaryArray.from_arrays(arrays[name], arrow_strings(ids[name]), safe=False) for name in ids}
    table = pa.table({name: coded.get(name, arrays[name]) for name in SCHEMA})
    sink = BytesIO()  # hands out what it holds without a copy, and grows by an eighth where Arrow's own doubles
    write: Any = parquet.write_table  # its types do not know that settings may name columns
    write(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        row_group_size=max(table.num_rows, 1),
        dictionary_pagesize_limit=_NEVER,
        store_schema=False,
        # Of strings they cost more than all the rest, and help nobody in one row group.
        write_statistics=["ts", "rank"],
        use_dictionary=list(ID_COLUMNS),
        # Bits instead of eight bytes a row, before anything is compressed.
        column_encoding={"ts": "DELTA_BINARY_PACKED", "rank": "DELTA_BINARY_PACKED"},
    )
    give_back_memory()
    return sink.getvalue()


def decode_events(data: bytes, columns: Sequence[str] | None = None) -> Events:
    """Return canonical events, or some of their columns, from Parquet; in the order of the rows as they are stored.

    Codes and ids are taken as stored if the dictionary is one and ascending; else (another writer) coded again. Raises
    `CorruptObjectError` if the bytes are no Parquet of canonical events.
    """
    wanted = [name for name in SCHEMA if columns is None or name in columns]
    values, ids = _decode(data, wanted)
    for name, strings in ids.items():
        if not ascending(strings):
            coded = merge_coded([values[name]], [strings])
            values[name], ids[name] = coded.codes, coded.ids
    return events_of(values, ids)


def _decode(data: bytes, wanted: list[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Strings]]:
    coded = [name for name in wanted if name in ID_COLUMNS]
    try:
        # One chunk a row group; `read_table` would cut the rows into batches, each with the dictionary again.
        read = parquet.ParquetFile(pa.BufferReader(data), read_dictionary=coded).read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"no Parquet of canonical events: {error}; build the day again") from error
    missing = [name for name in wanted if name not in read.column_names]
    if missing:
        raise CorruptObjectError(f"expected the column {missing[0]}, found {read.column_names}; build the day again")
    columns = {name: read.column(name) for name in wanted}
    del read  # so that each column is gone once it is taken over
    values: dict[str, NDArray[Any]] = {}
    ids: dict[str, Strings] = {}
    for name in wanted:
        column = columns.pop(name).combine_chunks()
        if name in ID_COLUMNS:
            values[name], ids[name] = _split_dictionary(name, column)
        else:
            values[name] = _numbers(name, column)
        del column
        give_back_memory()
    return values, ids


def _split_dictionary(name: str, column: Any) -> tuple[NDArray[np.uint32], Strings]:
    """Return codes, `ABSENT` where null, and strings."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        raise CorruptObjectError(f"{name}: expected strings, found {column.type}; build the day again")
    # -1 as an unsigned number is ABSENT.
    indices = column.indices.fill_null(-1).to_numpy()
    return indices.astype(np.int32, copy=False).view(np.uint32), strings_of(column.dictionary)


def _numbers(name: str, column: Any) -> NDArray[np.int64]:
    expected = _INSTANT if name == "ts" else pa.int64()
    if column.type != expected or column.null_count:
        raise CorruptObjectError(f"{name}: expected {expected} without nulls, found {column.type}; build the day again")
    return column.view(pa.int64()).to_numpy()
