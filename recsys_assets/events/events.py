"""In-memory events as read by every kernel: ids as integer codes that compare like the ids."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import PADDING, Strings
from recsys_assets.ingest.part_merge import ABSENT

ID_COLUMNS = ("user_id", "session_id", "item_id", "request_id", "event")

SCHEMA: Mapping[str, pl.DataType] = {
    "ts": pl.Datetime("ns", "UTC"),
    "user_id": pl.UInt32(),
    "session_id": pl.UInt32(),
    "rank": pl.Int64(),
    "item_id": pl.UInt32(),
    "request_id": pl.UInt32(),
    "event": pl.UInt32(),
}
_INSTANT = pa.timestamp("ns", tz="UTC")


class Events(msgspec.Struct, frozen=True):
    """Canonical events of one target, ids as codes.

    - `codes`: columns of `SCHEMA` (or a subset, if requested), with one row per distinct event, in canonical order.
      `user_id`, `request_id` and `event` are null if absent.
    - `ids[column]`: String series, strictly ascending in code-point order, without nulls. Code `n` means
      `ids[column][n]`, so comparing codes compares ids.
    """

    codes: pl.DataFrame
    ids: Mapping[str, pl.Series]

    @property
    def size(self) -> int:
        """Memory in bytes of codes and ids."""
        return int(self.codes.estimated_size() + sum(ids.estimated_size() for ids in self.ids.values()))

    def has_columns(self, columns: Iterable[str]) -> bool:
        """Return whether all of these columns exist."""
        return set(columns) <= set(self.codes.columns)

    def only(self, columns: Iterable[str]) -> "Events":
        """Return the same rows with the existing ones of these columns, sharing memory."""
        wanted = set(columns)
        codes = self.codes.select(name for name in self.codes.columns if name in wanted)
        return Events(codes, {name: ids for name, ids in self.ids.items() if name in wanted})

    def decoded(self) -> pl.DataFrame:
        """Return the same rows with ids as strings, for display, contracts and tests."""
        return self.codes.with_columns(
            self.ids[name].gather(self.codes[name]).alias(name) for name in ID_COLUMNS if name in self.codes.columns
        )


def events_of(columns: Mapping[str, NDArray[Any]], ids: Mapping[str, Strings]) -> Events:
    """Return columns as events without copying numbers: int64 `ts` and `rank`, uint32 codes with `ABSENT` for none.

    Codes must index `ids`, which must be ascending. Any subset of columns is allowed.
    """
    arrays = {name: arrow_column(name, columns[name]) for name in SCHEMA if name in columns}
    frame = pl.DataFrame([pl.Series(name, array, dtype=SCHEMA[name]) for name, array in arrays.items()])
    return Events(frame, {name: id_series(name, ids[name]) for name in ID_COLUMNS if name in columns})


def arrow_column(name: str, values: NDArray[Any]) -> Any:
    """Return a column as an Arrow array: `ts` as a timestamp, `ABSENT` (truncated to the dtype) as null."""
    # Built from buffers, because `pa.array` imports pandas if it is installed.
    kind = _INSTANT if name == "ts" else pa.from_numpy_dtype(values.dtype)
    validity = None
    if name in ID_COLUMNS:
        present = values != values.dtype.type(ABSENT & np.iinfo(values.dtype).max)
        validity = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))])


def numbers_of(array: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """Return an Arrow array of this dtype without nulls as a numpy array, sharing memory."""
    values = array.buffers()[1]  # Not `to_numpy`: see `arrow_column`.
    return np.frombuffer(values, dtype)[array.offset : array.offset + len(array)] if values else np.empty(0, dtype)


def arrow_strings(strings: Strings) -> Any:
    """Return strings as a large_string array sharing their memory, without the padding at the end."""
    data = strings.data[: int(strings.offsets[-1])]
    return pa.LargeStringArray.from_buffers(len(strings), pa.py_buffer(strings.offsets), pa.py_buffer(data))


def id_series(name: str, strings: Strings) -> pl.Series:
    """Return strings as a series of ids."""
    return pl.Series(name, arrow_strings(strings), dtype=pl.String)


def strings_of(array: Any) -> Strings:
    """Return an Arrow array of strings (or large ones) without nulls as `Strings`."""
    # By their own offsets, not `cast`: it imports pyarrow.compute, which makes 300 functions.
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, width)[array.offset : array.offset + len(array) + 1] if offsets else np.zeros(1)
    text = np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)
    used = text[int(bounds[0]) : int(bounds[-1])]
    return Strings(np.concatenate([used, np.zeros(PADDING, np.uint8)]), bounds.astype(np.int64) - int(bounds[0]))


def give_back_memory() -> None:
    """Return memory freed by Arrow to the system. It is as large as the events."""
    pa.default_memory_pool().release_unused()


def codes_of(series: pl.Series) -> NDArray[np.uint32]:
    """Return a column of codes with `ABSENT` for null."""
    return codes_in(series.to_arrow())


def codes_in(array: Any) -> NDArray[np.uint32]:
    """Return an Arrow array of codes of any width as read-only uint32, with `ABSENT` for null."""
    codes = numbers_of(array, np.dtype(str(array.type)).type).astype(np.uint32, copy=array.null_count > 0)
    if array.null_count:
        validity = np.frombuffer(array.buffers()[0], np.uint8)
        present = np.unpackbits(validity, bitorder="little")[array.offset : array.offset + len(array)]
        codes[present == 0] = ABSENT
    codes.flags.writeable = (
        False  # like arrays that share memory with Arrow: compiled code is specialised for one of both
    )
    return codes


class CodedIds(msgspec.Struct, frozen=True):
    """An id column: codes by row, and their ascending ids."""

    codes: NDArray[np.uint32]
    ids: Strings
