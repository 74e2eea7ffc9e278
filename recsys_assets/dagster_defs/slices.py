"""The targets split over code locations: the attribute `part_2_of_8` is the graph of the second of eight slices.

Each slice has a raw asset of its own, `raw/part_2_of_8`: a run can only execute what its own location defines, and
Dagster takes two assets with one key in two locations for a mistake. The store has one record of a day all the same.
"""

import re
from collections.abc import Sequence
from hashlib import sha256

import dagster as dg

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.target import TargetSettings

_PART = re.compile(r"part_([1-9]\d{0,3})_of_([1-9]\d{0,3})")


def choose_part(rows: Sequence[TargetSettings], *, part: int, parts: int) -> tuple[TargetSettings, ...]:
    """Return the rows of one slice, by a hash of their names: a target that comes or goes moves no other."""
    return tuple(row for row in rows if _place(row, parts) == part)


def raw_key(attribute: str) -> dg.AssetKey:
    """Return the key of the raw asset of a slice, `raw/part_2_of_8`."""
    return dg.AssetKey([*RAW.path, attribute])


def __getattr__(name: str) -> dg.Definitions:
    """Build the graph of a slice when its attribute is asked for; other names are not there."""
    match = _PART.fullmatch(name)
    if match is None or int(match[1]) > int(match[2]):
        raise AttributeError(f"no slice {name!r}: expected part_1_of_4, or what `recsys-assets workspace` wrote")
    settings = load_settings()
    rows = choose_part(settings.targets, part=int(match[1]), parts=int(match[2]))
    return build_definitions(settings, rows=rows, raw=raw_key(name)) if rows else dg.Definitions()


def _place(row: TargetSettings, parts: int) -> int:
    return int.from_bytes(sha256(f"{row.tenant}/{row.surface}".encode()).digest()[:8]) % parts + 1
