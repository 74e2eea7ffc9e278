"""Targets split over code locations: the attribute `part_2_of_8` is the graph of the second of eight slices.

Each slice has its own raw asset, e.g. `raw/part_2_of_8`: a run can only execute assets of its own location, and Dagster
rejects the same key in two locations. All slices share one raw record per day in the store.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import dagster as dg

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import TargetSettings

# The slice that was built last, by its name and configuration: Dagster accesses the attribute several times for a run.
_built: dict[tuple[str, Path, str], dg.Definitions] = {}
_PART = re.compile(r"part_([1-9]\d{0,3})_of_([1-9]\d{0,3})")


def choose_part(rows: Sequence[TargetSettings], *, part: int, parts: int) -> tuple[TargetSettings, ...]:
    """Return the targets of one slice, by a hash of their names: adding or removing a target moves no other."""
    return tuple(row for row in rows if _slice_number(row, parts) == part)


def raw_key(attribute: str) -> dg.AssetKey:
    """Return the key of the raw asset of a slice, `raw/part_2_of_8`."""
    return dg.AssetKey([*RAW.path, attribute])


def __getattr__(name: str) -> dg.Definitions:
    """Build the graph of a slice when its attribute is accessed. Raises `AttributeError` for other names."""
    match = _PART.fullmatch(name)
    if match is None or int(match[1]) > int(match[2]):
        raise AttributeError(
            f"slice {name!r} does not exist: expected e.g. part_1_of_4, as `recsys-assets workspace` writes"
        )
    settings = load_settings()
    key = (name, settings.base, settings.digest)
    if key not in _built:
        rows = choose_part(settings.targets, part=int(match[1]), parts=int(match[2]))
        _built.clear()
        _built[key] = build_definitions(settings, rows=rows, raw=raw_key(name)) if rows else dg.Definitions()
    return _built[key]


def _slice_number(row: TargetSettings, parts: int) -> int:
    return int.from_bytes(sha256(f"{row.tenant}/{row.surface}".encode()).digest()[:8]) % parts + 1
