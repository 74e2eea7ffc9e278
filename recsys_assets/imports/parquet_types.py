"""Parquet, looked into: the columns' types, and which of them hold nulls, read a thousand rows at a time."""

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
    """Return the type of every column and the number of rows; all pages are read, so a damaged one is found.

    Raises `InputError` for a file that cannot be read, `LimitExceededError` before more is unpacked than allowed.
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
        endless: set[str] = set()
        rows = unpacked = 0
        for batch in open_parquet(data, dictionaries=plan.dictionaries).iter_batches(plan.rows, use_threads=False):
            rows += batch.num_rows
            unpacked += sum(map(_unpacked_bytes, batch.columns))
            if unpacked > max_unpacked_bytes:
                raise LimitExceededError(f"{name} unpacks to over max_unpacked_bytes = {max_unpacked_bytes:,} bytes")
            nulls |= {field for field in schema.names if batch.column(field).null_count}
            endless |= {field for field in schema.names if not _is_finite(batch.column(field))}
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} is no Parquet that can be read: {error}; correct the file") from error
    marks = {name: ("?" if name in nulls else "") + (NON_FINITE if name in endless else "") for name in schema.names}
    return FileContent({f.name: _type(f.type) + marks[f.name] for f in schema}, rows)


def _unpacked_bytes(values: Any) -> int:
    """Return how many bytes an array takes once each row holds its own value, also in lists and structs."""
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
    """Return whether no number in an array, also in its lists and structs, is NaN or infinite."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _is_finite(values.dictionary)
    if pa.types.is_struct(kind):
        return all(_is_finite(one) for one in values.flatten())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_finite(values.flatten())
    if not pa.types.is_floating(kind):
        return True
    return bool(np.isfinite(values.drop_null().to_numpy(zero_copy_only=False)).all())


def check_names(columns: Sequence[str], *, name: str) -> None:
    """Raise `InputError` naming the columns that stand more than once: no reader could distinguish them."""
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{name} has several columns called {', '.join(map(repr, twice[:5]))}: give each its own name")


def open_parquet(data: bytes, *, dictionaries: Sequence[str] = ()) -> Any:
    """Return the file over bytes in memory, its own metadata bounded; text of `dictionaries` is held once a value."""
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
