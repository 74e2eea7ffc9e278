"""Imported tables as Arrow: Parquet, and JSON lines whose fields become columns."""

from typing import Any, Final

import pyarrow as pa

from recsys_assets.errors import InputError
from recsys_assets.imports.json_lines import read_json_lines
from recsys_assets.imports.parquet import check_names, open_parquet
from recsys_assets.settings.imports import ImportFormat

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
