"""Editing of recsys.toml: a target's parameters set in the text, all else left as it was written."""

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Whitespace

from recsys_assets.errors import ConfigurationError
from recsys_assets.settings.settings import TargetSettings


def with_parameters(
    text: str,
    target_settings: TargetSettings,
    kind: str,
    values: Mapping[str, Any],
    *,
    kinds: Sequence[str] | None = None,
) -> str:
    """Return the text with a target's parameters of a kind set to `values`, and `kinds` added to those built.

    The values are written to the target's `[targets.artifacts.<kind>]`. Raises `ConfigurationError` if the text does
    not contain the target.
    """
    document: Any = tomlkit.parse(text)
    if kinds is not None:
        artifacts = _table_of(document, "artifacts")
        written = artifacts.setdefault("kinds", tomlkit.array())
        written.extend(kind for kind in kinds if kind not in written)
    if values:
        _table_of(_table_of(_target(document, target_settings), "artifacts", is_super=True), kind).update(values)
    return tomlkit.dumps(document)


def _target(document: Any, target_settings: TargetSettings) -> Any:
    tables = [
        table
        for table in document.get("targets", [])
        if (table["tenant"], table["surface"]) == (target_settings.tenant, target_settings.surface)
    ]
    if not tables:
        raise ConfigurationError(f"the file no longer has the target {target_settings.target}: read it again")
    return tables[0]


def _table_of(parent: Any, name: str, *, is_super: bool = False) -> Any:
    """Return a table of a table, created if missing. A super table has no header of its own."""
    if name in parent:
        return parent[name]
    if isinstance(parent, InlineTable):
        parent[name] = tomlkit.inline_table()
        return parent[name]
    after = _cut_after_blank_line(parent) if is_super else []
    parent[name] = tomlkit.table(is_super_table=is_super)
    if after:
        parent.value.body.extend(after)
    return parent[name]


def _cut_after_blank_line(table: Any) -> list[Any]:
    """Remove and return the end of a table after a blank line: comments that belong to the next table."""
    body = table.value.body
    end = len(body)
    while end and body[end - 1][0] is None:
        end -= 1
    blank = next((n for n in range(end, len(body)) if isinstance(body[n][1], Whitespace)), len(body))
    after = body[blank:]
    del body[blank:]
    return after
