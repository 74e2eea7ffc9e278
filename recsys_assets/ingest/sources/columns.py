"""Mapping of table columns to event fields, by the configuration or by name."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import get_args

from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.settings.inputs import EventField, RawSettings

FIELDS: tuple[EventField, ...] = get_args(EventField)
_REQUIRED = frozenset({"ts", "tenant", "surface", "session_id", "item_id"})


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where each field comes from: a column, or a constant (None: null); fields that are in neither are absent."""

    columns: Mapping[str, str]
    constants: Mapping[str, str | None]


def map_columns(raw: RawSettings, found: Collection[str], *, name: str, known: Mapping[str, str | None]) -> Mapped:
    """Return where the fields come from in something called `name` that has the columns `found`.

    `known` holds what its path says: the keys of a hive path. A column counts before such a key, a line in
    `raw.columns` before a column of the field's own name, and `raw.constants` before all.

    Raises `InputError` naming the field if a column that is named, or that every event needs, is not there;
    `ConfigurationError` for a field with both a column and a constant.
    """
    both = sorted(set(raw.columns) & set(raw.constants))
    if both:
        raise ConfigurationError(f"raw.columns and raw.constants both name {', '.join(both)}: take one of them out")
    # Where sessions are found, they are found by the user: one of the two must be there.
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
                f"name another in raw.columns, or its value in raw.constants"
            )
    return Mapped(columns, constants)
