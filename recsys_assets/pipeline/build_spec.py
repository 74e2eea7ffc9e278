"""Values of one artifact build: the specification of what to build, and what came of it."""

from typing import NamedTuple, TypedDict

from recsys_assets.identity import Target, Window
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import Kind
from recsys_assets.settings.target import TargetSettings


class BuildSpec(NamedTuple):
    """Specification of one build: for whom, which kind, of which days."""

    row: TargetSettings
    kind: Kind
    params: KindParams
    window: Window
    blocked: frozenset[str] = frozenset()  # items that it names nowhere


class Named(TypedDict):
    """What every object of an artifact is encoded with."""

    kind: str
    target: Target
    window: Window
    max_bytes: int


def named(spec: BuildSpec) -> Named:
    """Return what every object of an artifact is encoded with."""
    row, kind, params, window, _ = spec
    return {"kind": kind.name, "target": row.target, "window": window, "max_bytes": params.max_bytes}
