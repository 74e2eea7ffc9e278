"""Vectors by id, and their encoding as content-addressed safetensors blobs."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from recsys_assets.artifact_format import Blob, Envelope, too_large
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import ArtifactRef, Target, Window, rfc3339
from recsys_assets.kind_descriptions import VectorShape

FORM = "safetensors"

Floats = NDArray[np.float32]


COLUMNS: Mapping[str, pl.DataType] = {"of": pl.String(), "id": pl.String(), "norm": pl.Float64()}
_ALIGNED: Final = 8
_CODES: Final = {"float32": "F32", "int64": "I64", "uint8": "U8"}


class Table(msgspec.Struct, frozen=True, eq=False):
    """Vectors of one id column.

    `values[n]` (float32) is that of `ids[n]`. Ids are strictly ascending, without nulls.
    """

    ids: pl.Series
    values: Floats

    @property
    def norms(self) -> NDArray[np.float64]:
        """Euclidean norm of each vector."""
        return np.linalg.norm(self.values.astype(np.float64), axis=1)


class Vectors(msgspec.Struct, frozen=True, eq=False):
    """Tables of an artifact by id column."""

    shape: VectorShape
    tables: Mapping[str, Table]

    def __len__(self) -> int:
        """Return the number of vectors."""
        return sum(len(table.ids) for table in self.tables.values())

    def without(self, column: str, ids: frozenset[str]) -> "Vectors":
        """Return the vectors without those of some ids of one column."""
        table = self.tables.get(column)
        if table is None:
            return self
        mask = ~table.ids.is_in(list(ids))
        left = Table(table.ids.filter(mask), table.values[mask.to_numpy()])
        return Vectors(self.shape, {**self.tables, column: left})

    def frame(self, limit: int | None = None) -> pl.DataFrame:
        """Return the id column (`of`), `id` and `norm` of each vector, or of the first `limit` of each table.

        Single components have no meaning of their own, so only the norm is shown.
        """
        heads = [
            pl.DataFrame({"of": [column] * len(ids), "id": ids, "norm": table.norms[: len(ids)]})
            for column, table in self.tables.items()
            for ids in [table.ids if limit is None else table.ids.head(limit)]
        ]
        return pl.concat([pl.DataFrame(schema=COLUMNS), *heads])


def encode_vectors(vectors: Vectors, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Encode vectors as one content-addressed safetensors file. Equal vectors give equal bytes.

    The header's `__metadata__` contains the envelope, but nothing about time, library or machine. The format is that of
    huggingface/safetensors. Raises `LimitExceededError` if the blob would be larger than `max_bytes`.
    """
    arrays = dict(_arrays(vectors))
    header = _header(arrays, _envelope(kind, target, window))
    size = len(header) + sum(array.nbytes for array in arrays.values())
    if size > max_bytes:
        raise too_large(kind, target, found=f"{size:,}", max_bytes=max_bytes)
    data = b"".join([header, *(array.tobytes() for array in arrays.values())])
    sha256 = hashlib.sha256(data).hexdigest()
    return Blob(ArtifactRef(kind, f"{sha256}.{FORM}", size, sha256), data)


def decode_vectors(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], shape: VectorShape
) -> tuple[Envelope, Vectors]:
    """Return envelope and vectors from the arrays and the metadata of a blob that `encode_vectors` wrote.

    The contract checks that ids ascend and numbers are finite. Raises `CorruptObjectError` with the array's name.
    """
    expected = {name for column, array in shape.tables.items() for name in (f"{column}.ends", array, f"{column}.text")}
    if set(arrays) != expected:
        raise CorruptObjectError(f"not vectors: the file contains {sorted(arrays)}, expected {sorted(expected)}")
    tables = {column: _table(arrays, column, array) for column, array in shape.tables.items()}
    try:
        stored = msgspec.convert(dict(metadata), _Metadata)
    except msgspec.ValidationError as error:
        raise CorruptObjectError(f"invalid envelope in {dict(metadata)}: {error}; build it again") from error
    envelope = Envelope(
        stored.artifact_type,
        stored.tenant,
        stored.surface,
        stored.segment,
        stored.window_start,
        stored.window_end,
    )
    return envelope, Vectors(shape, tables)


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Envelope as strings, the only type that the format allows."""

    artifact_type: str
    tenant: str
    surface: str
    window_start: str
    window_end: str
    segment: str | None = None


def _envelope(kind: str, target: Target, window: Window) -> _Metadata:
    return _Metadata(
        kind, target.tenant, target.surface, rfc3339(window.start), rfc3339(window.end), target.segment or None
    )


def _arrays(vectors: Vectors) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield all arrays by name, wider dtypes first, so that each is aligned."""
    for column, table in vectors.tables.items():
        yield f"{column}.ends", table.ids.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy().astype("<i8")
    for column, table in vectors.tables.items():
        yield vectors.shape.tables[column], np.ascontiguousarray(table.values, "<f4")
    for column, table in vectors.tables.items():
        yield f"{column}.text", np.frombuffer("".join(table.ids.to_list()).encode(), np.uint8)


def _header(arrays: Mapping[str, NDArray[Any]], envelope: _Metadata) -> bytes:
    header: dict[str, object] = {"__metadata__": envelope}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _CODES[array.dtype.name], "shape": array.shape, "data_offsets": (begin, end)}
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % _ALIGNED)
    return len(text).to_bytes(_ALIGNED, "little") + text


def _table(arrays: Mapping[str, NDArray[Any]], column: str, name: str) -> Table:
    ends, values, text = arrays[f"{column}.ends"], arrays[name], arrays[f"{column}.text"]
    types = {part: (array.dtype.name, array.ndim) for part, array in (("ends", ends), (name, values), ("text", text))}
    if types != {"ends": ("int64", 1), name: ("float32", 2), "text": ("uint8", 1)} or len(values) != len(ends):
        raise CorruptObjectError(f"vectors of {column}: arrays are {types}, of {len(values)} and {len(ends)} rows")
    return Table(_ids(ends, text, column), values)


def _ids(ends: NDArray[Any], text: NDArray[Any], column: str) -> pl.Series:
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    if (np.diff(offsets) < 0).any() or offsets[-1] != len(text):
        raise CorruptObjectError(f"{column}.ends does not match {column}.text: build the artifact again")
    array = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise CorruptObjectError(f"an id of {column}.text is not UTF-8 ({error}): build the artifact again") from error
    return pl.Series(array, dtype=pl.String)
