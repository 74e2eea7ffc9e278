"""Rotation of a sensor over many targets: so many in each tick, since a tick must end within a minute."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import dagster as dg
import msgspec

from recsys_assets.settings.target import TargetSettings

TARGETS_A_TICK = 100
_FORMER_FIELDS: Mapping[str, str] = {"told": "recorded", "message": "recorded"}
"""Names that fields of stored cursors had before, each with its name now."""


class RotatingCursor(msgspec.Struct, frozen=True):
    """Memory of a sensor from one tick to the next: at least the number of the target that comes first in it."""

    next: int = 0


C = TypeVar("C", bound=RotatingCursor)


@dataclass(frozen=True, slots=True)
class Tick(Generic[C]):
    """One tick of a sensor."""

    cursor: C
    chosen: Sequence[TargetSettings]
    next: int  # the number of the target that the next tick begins with


def begin_tick(context: dg.SensorEvaluationContext, rows: Sequence[TargetSettings], cursor: type[C]) -> Tick[C]:
    """Return the stored cursor, which may be of an earlier version, and the targets of this tick."""
    found = read_cursor(context.cursor, cursor)
    chosen, following = rotate(rows, start=found.next)
    return Tick(found, chosen, following)


def read_cursor(text: str | None, cursor: type[C]) -> C:
    """Return what a sensor stored, or an empty cursor; fields that earlier versions wrote are renamed."""
    stored: dict[str, Any] = json.loads(text) if text else {}
    return msgspec.convert({_FORMER_FIELDS.get(name, name): value for name, value in stored.items()}, cursor)


def write_cursor(cursor: RotatingCursor) -> str:
    """Return a cursor as Dagster stores it."""
    return msgspec.json.encode(cursor).decode()


def rotate(rows: Sequence[TargetSettings], *, start: int) -> tuple[list[TargetSettings], int]:
    """Return the targets of this tick, beginning with the one numbered `start`, and where the next tick begins."""
    chosen = [rows[(start + n) % len(rows)] for n in range(min(TARGETS_A_TICK, len(rows)))]
    return chosen, (start + len(chosen)) % len(rows)
