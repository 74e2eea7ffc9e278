"""Mapping of event fields to table columns, by the configuration or by name."""

from collections.abc import Collection, Mapping
from typing import get_args

import msgspec

from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.settings.inputs import EventField, RawSettings

FIELDS: tuple[EventField, ...] = get_args(EventField)
_REQUIRED = frozenset({"ts", "tenant", "surface", "session_id", "item_id"})


class ColumnMapping(msgspec.Struct, frozen=True):
    """Source of each event field: a column, or a constant (None: null). Fields in neither are absent."""

    columns: Mapping[str, str]
    constants: Mapping[str, str | None]


def map_columns(
    raw: RawSettings, found: Collection[str], *, name: str, known: Mapping[str, str | None]
) -> ColumnMapping:
    """Return the mapping for a table or file called `name` with the columns `found`.

    `known` holds the values that its path gives: the keys of a hive path. A column takes precedence over such a key, an
    entry of `raw.columns` over a column with the field's own name, and `raw.constants` over all.

    Raises `InputError` naming the field if a column is missing that is configured or that every event needs. Raises
    `ConfigurationError` for a field with both a column and a constant.
    """
    both = sorted(set(raw.columns) & set(raw.constants))
    if both:
        raise ConfigurationError(f"raw.columns and raw.constants both hold {', '.join(both)}: remove one of them")
    # Sessions are derived from the user: one of session_id and user_id must exist.
    has_session = raw.session_gap_minutes is None or raw.columns.get("session_id", "session_id") in {*found, *known}
    required = _REQUIRED if has_session else _REQUIRED - {"session_id"} | {"user_id"}
    columns: dict[str, str] = {}
    constants: dict[str, str | None] = {**raw.constants}
    for field in FIELDS:
        if field in constants:
            continue
        column = raw.columns.get(field, field)
        if column in found:
            columns[field] = column
        elif column in known:
            constants[field] = known[column]
        elif field in raw.columns or field in required:
            raise InputError(
                f"{name} has no column {column!r} for {field}, it has {', '.join(sorted(found))}: "
                f"set another column in raw.columns, or a value in raw.constants"
            )
    return ColumnMapping(columns, constants)
