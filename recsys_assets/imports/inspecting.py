"""One way to look into an imported file, whatever its format, within bounds; and its tables as Arrow."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys_assets.errors import InputError
from recsys_assets.imports.contract import NON_FINITE, Content
from recsys_assets.imports.json_lines import inspect_json_lines, read_json_lines
from recsys_assets.imports.npz import read_npz
from recsys_assets.imports.parquet import check_names, inspect_parquet, open_parquet
from recsys_assets.imports.safetensors import read_safetensors
from recsys_assets.settings.artifacts import ImportFormat


def inspect(data: bytes, form: ImportFormat, *, name: str, max_unpacked_bytes: int) -> Content:
    """Return what a file holds; `InputError` or `LimitExceededError` if it is not of its format or too large."""
    if form is ImportFormat.BYTES:
        return Content({}, None)
    if form is ImportFormat.JSONL:
        return inspect_json_lines(data, name=name)
    if form is ImportFormat.PARQUET:
        return inspect_parquet(data, name=name, max_unpacked_bytes=max_unpacked_bytes)
    return _of_arrays(read_arrays(data, form.value, name=name, max_unpacked_bytes=max_unpacked_bytes))


def read_arrays(data: bytes, form: str, *, name: str, max_unpacked_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz or safetensors file by name; `InputError` for any other form."""
    if form == ImportFormat.NPZ:
        return read_npz(data, name=name, max_unpacked_bytes=max_unpacked_bytes)
    if form == ImportFormat.SAFETENSORS:
        return read_safetensors(data, name=name)
    raise InputError(f"{name} is of the form {form!r}, which holds no arrays: npz and safetensors do")


def _of_arrays(arrays: dict[str, NDArray[Any]]) -> Content:
    fields = {name: _type(array) for name, array in arrays.items()}
    rows = max((array.shape[0] for array in arrays.values() if array.ndim), default=0)
    return Content(fields, rows)


def _type(array: NDArray[Any]) -> str:
    is_finite = array.dtype.kind not in "fc" or bool(np.isfinite(array).all())
    return f"{_dtype(array)}[{','.join(map(str, array.shape))}]" + ("" if is_finite else NON_FINITE)


def _dtype(array: NDArray[Any]) -> str:
    return {"U": "string", "S": "bytes"}.get(array.dtype.kind, array.dtype.name)


_BATCH: Final = 10_000  # rows that stand as Python objects at a time


def read_table(data: bytes, form: str, *, name: str) -> Any:
    """Return the rows of a Parquet or JSON-lines file as an Arrow table; `InputError` for what is neither."""
    if form not in {ImportFormat.PARQUET, ImportFormat.JSONL}:
        raise InputError(f"{name} is of the form {form!r}, which is no table: parquet and jsonl are")
    try:
        if form == ImportFormat.PARQUET:
            file = open_parquet(data)
            check_names(file.schema_arrow.names, name=name)
            return file.read(use_threads=False)
        return _of_lines(data, name)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} cannot be read as a table: {error}") from error


def _of_lines(data: bytes, name: str) -> Any:
    """Return the lines as a table, put together from batches whose columns may differ."""
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
