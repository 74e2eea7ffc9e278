"""Edits of recsys.toml that keep its comments, order and form."""

from collections.abc import Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Whitespace

from recsys_assets.errors import ConfigurationError
from recsys_assets.settings.target import TargetSettings


def with_parameters(
    text: str, row: TargetSettings, kind: str, values: Mapping[str, Any], *, kinds: Sequence[str] | None = None
) -> str:
    """Return the text with a target's parameters of a kind set to `values`, and these kinds built.

    A target's own values stand in its `[targets.artifacts.<kind>]`. Raises `ConfigurationError` if the text has no such
    target.
    """
    document: Any = tomlkit.parse(text)
    if kinds is not None:
        artifacts = _table(document, "artifacts")
        written = artifacts.setdefault("kinds", tomlkit.array())
        written.extend(kind for kind in kinds if kind not in written)
    if values:
        _table(_table(_target(document, row), "artifacts", is_super=True), kind).update(values)
    return tomlkit.dumps(document)


def _target(document: Any, row: TargetSettings) -> Any:
    found = [one for one in document.get("targets", []) if (one["tenant"], one["surface"]) == (row.tenant, row.surface)]
    if not found:
        raise ConfigurationError(f"the file has no target {row.target} any more: read it again")
    return found[0]


def _table(parent: Any, name: str, *, is_super: bool = False) -> Any:
    """Return a table of a table, made if it is not there; one above others has no header of its own."""
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
    """Take away, and return, what stands at a table's end after a blank line: comments on what follows it."""
    body = table.value.body
    end = len(body)
    while end and body[end - 1][0] is None:
        end -= 1
    blank = next((n for n in range(end, len(body)) if isinstance(body[n][1], Whitespace)), len(body))
    after = body[blank:]
    del body[blank:]
    return after
