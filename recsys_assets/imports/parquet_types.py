"""Inspection of Parquet files: column types and nullability, read a thousand rows at a time."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.imports.contract import MAX_FIELDS, NON_FINITE, FileContent
from recsys_assets.ingest.sources.parquet_pages import plan_read

_BATCH_ROWS: Final = 1000
_METADATA_BYTES: Final = 10_000_000
_SHORT: Final = {"double": "float64", "float": "float32", "halffloat": "float16", "large_string": "string"}


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
    return FileContent({f.name: _type(f.type) + suffixes[f.name] for f in schema}, rows)


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


def _type(kind: Any) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list[{_type(kind.value_type)}]"
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    return _SHORT.get(str(kind), str(kind))
