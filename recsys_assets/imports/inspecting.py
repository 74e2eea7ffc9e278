"""Inspection of imported files of any format: JSON lines, npz within bounds, Parquet and other tables as Arrow."""

import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from math import prod
from tokenize import TokenError
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.imports.contract import MAX_FIELDS, NON_FINITE, FileContent
from recsys_assets.imports.safetensors import read_safetensors
from recsys_assets.ingest.sources.parquet_pages import plan_read
from recsys_assets.settings.artifacts import ImportFormat

_BATCH_ROWS: Final = 1000
_METADATA_BYTES: Final = 10_000_000
_SHORT: Final = {"double": "float64", "float": "float32", "halffloat": "float16", "large_string": "string"}
_ENDING: Final = ".npy"
_MAX_HEADER: Final = 10_000
_COMPRESSIONS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# numpy parses headers as Python source, and raises the errors of its tokenizer and parser.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    OverflowError,
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    TokenError,
)
MAX_LINE_BYTES: Final = 4_194_304
_MIXED: Final = "mixed"
_NAMES: Final[Mapping[type, str]] = {bool: "bool", int: "int64", float: "float64", str: "string", dict: "object"}
_DECODER = msgspec.json.Decoder(dict[str, Any])
_BATCH: Final = 10_000  # rows kept as Python objects at a time


def inspect_parquet(data: bytes, *, name: str, max_unpacked_bytes: int) -> FileContent:
    """Return the type of every column and the number of rows. All pages are read, so damaged ones are found.

    Raises `InputError` for an unreadable file, `LimitExceededError` before more than `max_unpacked_bytes` are unpacked.
    """
    try:
        file = open_parquet(data)
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
        if size > max_unpacked_bytes:
            raise LimitExceededError(
                f"{name} unpacks to {size:,} bytes, max_unpacked_bytes allows {max_unpacked_bytes:,}"
            )
        schema = file.schema_arrow
        if len(schema) > MAX_FIELDS:
            raise InputError(f"{name} has {len(schema):,} columns: at most {MAX_FIELDS:,}")
        check_names(schema.names, name=name)
        plan = plan_read(BytesIO(data), file.metadata, name=name, max_rows=_BATCH_ROWS)
        nulls: set[str] = set()
        non_finite: set[str] = set()
        rows = unpacked = 0
        for batch in open_parquet(data, dictionaries=plan.dictionaries).iter_batches(plan.rows, use_threads=False):
            rows += batch.num_rows
            unpacked += sum(map(_unpacked_bytes, batch.columns))
            if unpacked > max_unpacked_bytes:
                raise LimitExceededError(f"{name} unpacks to over max_unpacked_bytes = {max_unpacked_bytes:,} bytes")
            nulls |= {field for field in schema.names if batch.column(field).null_count}
            non_finite |= {field for field in schema.names if not _is_finite(batch.column(field))}
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} is not a readable Parquet file: {error}; correct the file") from error
    suffixes = {
        name: ("?" if name in nulls else "") + (NON_FINITE if name in non_finite else "") for name in schema.names
    }
    return FileContent({f.name: _column_type(f.type) + suffixes[f.name] for f in schema}, rows)


def _unpacked_bytes(values: Any) -> int:
    """Return the size in bytes of an array without dictionary encoding, including lists and structs."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        from pyarrow.compute import call_function  # noqa: PLC0415 - makes 300 functions, a twentieth of a start

        texts = values.dictionary.cast(pa.large_binary())
        lengths = call_function("binary_length", [texts]).to_numpy(zero_copy_only=False)
        return values.nbytes + int(np.nansum(lengths[values.indices.drop_null().to_numpy()], dtype=np.float64))
    if pa.types.is_struct(kind):
        return values.nbytes + sum(map(_unpacked_bytes, values.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return values.nbytes + _unpacked_bytes(values.flatten())
    return values.nbytes


def _is_finite(values: Any) -> bool:
    """Return whether every number in an array, including lists and structs, is finite."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _is_finite(values.dictionary)
    if pa.types.is_struct(kind):
        return all(_is_finite(child) for child in values.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_finite(values.flatten())
    if not pa.types.is_floating(kind):
        return True
    return bool(np.isfinite(values.drop_null().to_numpy(zero_copy_only=False)).all())


def check_names(columns: Sequence[str], *, name: str) -> None:
    """Raise `InputError` for columns of the same name, which readers cannot distinguish."""
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{name} has several columns named {', '.join(map(repr, twice[:5]))}: give each its own name")


def open_parquet(data: bytes, *, dictionaries: Sequence[str] = ()) -> Any:
    """Return the Parquet file over bytes in memory, with bounded metadata. `dictionaries` are read as dictionaries."""
    return pq.ParquetFile(
        pa.BufferReader(data),
        read_dictionary=dictionaries,
        thrift_string_size_limit=_METADATA_BYTES,
        thrift_container_size_limit=_METADATA_BYTES,
    )


def _column_type(kind: Any) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list[{_column_type(kind.value_type)}]"
    if pa.types.is_dictionary(kind):
        return _column_type(kind.value_type)
    return _SHORT.get(str(kind), str(kind))


def read_npz(data: bytes, *, name: str, max_unpacked_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz archive by name.

    Raises `LimitExceededError` before unpacking if the declared size is too large, and `InputError` for anything else
    than plain arrays: objects would be unpickled, which can execute code from the file.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            _check_sizes(members, name=name, max_unpacked_bytes=max_unpacked_bytes)
            for member in members:
                _check_member(archive, member)
        if len({member.filename for member in members}) < len(members):
            raise InputError(f"{name} has several arrays of the same name: give each its own name")
        with np.load(BytesIO(data), allow_pickle=False, max_header_size=_MAX_HEADER) as arrays:
            return dict(arrays)
    except _BROKEN as error:
        raise InputError(
            f"{name} is not an npz of plain arrays: {error}; save it by numpy.savez, without objects"
        ) from error


def _check_sizes(members: list[zipfile.ZipInfo], *, name: str, max_unpacked_bytes: int) -> None:
    if len(members) > MAX_FIELDS:
        raise LimitExceededError(f"{name} has {len(members):,} arrays: at most {MAX_FIELDS:,}")
    size = sum(member.file_size for member in members)
    if size > max_unpacked_bytes:
        raise LimitExceededError(f"{name} unpacks to {size:,} bytes, max_unpacked_bytes allows {max_unpacked_bytes:,}")


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise `ValueError` for an array that is not plain, or whose header does not match its size.

    numpy allocates the size in the header before it reads: a file of 200 bytes can request 512 GiB.
    """
    if member.compress_type not in _COMPRESSIONS:  # other methods take their window size from the file
        raise ValueError(f"{member.filename!r} has a compression that numpy does not use")
    if not member.filename.endswith(_ENDING):
        raise ValueError(f"{member.filename!r} does not end with {_ENDING}")
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=_MAX_HEADER)
        size = member.file_size - stream.tell()
    if dtype.hasobject or dtype.kind not in "biufcSUmM" or dtype.itemsize == 0:
        raise ValueError(f"{member.filename} has dtype {dtype}: expected numbers, booleans, times or text")
    if not all(0 <= axis <= sys.maxsize for axis in shape):
        raise ValueError(f"{member.filename} has shape {shape}")
    if size != prod(shape) * dtype.itemsize:
        raise ValueError(f"{member.filename} has {size} bytes, its header declares {prod(shape) * dtype.itemsize}")


def read_json_lines(data: bytes, *, name: str) -> Iterator[dict[str, Any]]:
    """Yield each line's object. Raises `InputError` for the first line that is invalid or over `MAX_LINE_BYTES`."""
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if end - start > MAX_LINE_BYTES:
            raise InputError(f"{name} line {number} has {end - start:,} bytes: at most {MAX_LINE_BYTES:,}")
        try:
            yield _DECODER.decode(memoryview(data)[start:end])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{name} line {number} is not a JSON object: {error}; correct the file") from error
        start = end + 1


def inspect_json_lines(data: bytes, *, name: str) -> FileContent:
    """Return the types of all fields in any line, and the number of lines. Missing fields count as null.

    Raises `InputError` for a line that is not a JSON object within the limits.
    """
    fields: dict[str, str] = {}
    seen: dict[str, int] = {}
    rows = 0
    for row in read_json_lines(data, name=name):
        rows += 1
        for field, value in row.items():
            fields[field] = _wider(fields.get(field), _type_of(value))
            seen[field] = seen.get(field, 0) + 1
        if len(fields) > MAX_FIELDS:
            raise InputError(f"{name} has more than {MAX_FIELDS} fields by line {rows}: its keys seem to be data")
    return FileContent({f: t if seen[f] == rows else _nullable(t) for f, t in fields.items()}, rows)


def _type_of(value: Any) -> str:
    if value is None:
        return "null?"
    if isinstance(value, list):
        inner: str | None = None
        for item in value:
            inner = _wider(inner, _type_of(item))
        return f"list[{inner or 'null?'}]"
    return _NAMES.get(type(value), _MIXED)


def _wider(first: str | None, second: str) -> str:
    """Return the common type of two types."""
    if first is None or first == second:
        return second
    nullable = first.endswith("?") or second.endswith("?")
    wider = _wider_bare(first.removesuffix("?"), second.removesuffix("?"))
    return _nullable(wider) if nullable else wider


def _wider_bare(first: str, second: str) -> str:
    if second in {first, "null"}:
        return first
    if first == "null":
        return second
    if {first, second} == {"int64", "float64"}:
        return "float64"
    if first.startswith("list[") and second.startswith("list["):
        return f"list[{_wider(first[5:-1], second[5:-1])}]"
    return _MIXED


def _nullable(kind: str) -> str:
    return kind if kind.endswith("?") else f"{kind}?"


def inspect(data: bytes, form: ImportFormat, *, name: str, max_unpacked_bytes: int) -> FileContent:
    """Return the fields and rows of a file.

    Raises `InputError` if it is not of its format, `LimitExceededError` if it is too large.
    """
    if form is ImportFormat.BYTES:
        return FileContent({}, None)
    if form is ImportFormat.JSONL:
        return inspect_json_lines(data, name=name)
    if form is ImportFormat.PARQUET:
        return inspect_parquet(data, name=name, max_unpacked_bytes=max_unpacked_bytes)
    return _of_arrays(read_arrays(data, form.value, name=name, max_unpacked_bytes=max_unpacked_bytes))


def read_arrays(data: bytes, form: str, *, name: str, max_unpacked_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz or safetensors file by name. Raises `InputError` for any other format."""
    if form == ImportFormat.NPZ:
        return read_npz(data, name=name, max_unpacked_bytes=max_unpacked_bytes)
    if form == ImportFormat.SAFETENSORS:
        return read_safetensors(data, name=name)
    raise InputError(f"{name} has the format {form!r}, which has no arrays: expected npz or safetensors")


def _of_arrays(arrays: dict[str, NDArray[Any]]) -> FileContent:
    fields = {name: _type(array) for name, array in arrays.items()}
    rows = max((array.shape[0] for array in arrays.values() if array.ndim), default=0)
    return FileContent(fields, rows)


def _type(array: NDArray[Any]) -> str:
    is_finite = array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    return f"{_dtype(array)}[{','.join(map(str, array.shape))}]" + ("" if is_finite else NON_FINITE)


def _dtype(array: NDArray[Any]) -> str:
    return {"U": "string", "S": "bytes"}.get(array.dtype.kind, array.dtype.name)


def read_table(data: bytes, form: str, *, name: str) -> Any:
    """Return the rows of a Parquet or JSON-lines file as an Arrow table. Raises `InputError` for any other format."""
    if form not in {ImportFormat.PARQUET, ImportFormat.JSONL}:
        raise InputError(f"{name} has the format {form!r}, which is not a table: expected parquet or jsonl")
    try:
        if form == ImportFormat.PARQUET:
            file = open_parquet(data)
            check_names(file.schema_arrow.names, name=name)
            return file.read(use_threads=False)
        return _of_lines(data, name)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} cannot be read as a table: {error}") from error


def _of_lines(data: bytes, name: str) -> Any:
    """Return the lines as a table, concatenated from batches whose columns may differ."""
    batches: list[Any] = []
    rows: list[dict[str, object]] = []
    for row in read_json_lines(data, name=name):
        rows.append(row)
        if len(rows) == _BATCH:
            batches.append(_batch(rows))
            rows = []
    return pa.concat_tables([*batches, _batch(rows)], promote_options="permissive")


def _batch(rows: list[dict[str, object]]) -> Any:
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})
