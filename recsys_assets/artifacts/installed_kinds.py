"""Kinds that other installed packages add by the entry point `recsys_assets.kinds`."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from recsys_assets.artifacts.kind import Kind
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import is_slug

GROUP: Final = "recsys_assets.kinds"


@cache
def installed_kinds(taken: frozenset[str]) -> Mapping[str, Kind]:
    """Return, by name, the kinds that other packages add; looked for once in a process.

    An entry point is named as its kind, and leads to a `Kind`. Raises `ConfigurationError` naming package and entry
    point for one that cannot be imported, is no `Kind`, or has a name that is `taken` or stands twice: a kind that was
    passed over would be missed only when its artifact is.
    """
    found: dict[str, Kind] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        kind = _load(point)
        if kind.name in taken or kind.name in found:
            raise _broken(point, "there is a kind of this name already")
        found[kind.name] = kind
    return found


def _load(point: EntryPoint) -> Kind:
    try:
        kind: object = point.load()
    except Exception as error:  # the code of others: whatever it raises, its package is named
        raise _broken(point, f"it fails to load with {type(error).__name__}: {error}") from error
    if not isinstance(kind, Kind):
        raise _broken(point, f"it leads to {kind!r:.80}, not to a recsys_assets.artifacts.kind.Kind")
    if kind.name != point.name or not is_slug(kind.name):
        raise _broken(point, f"its kind is called {kind.name!r}: give both one name of letters, digits and _")
    return kind


def _broken(point: EntryPoint, why: str) -> ConfigurationError:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "a package without a name"
    return ConfigurationError(
        f"the package {package} adds the kind {point.name} ({GROUP}: {point.value}): {why}; mend the package, or "
        "uninstall it"
    )
