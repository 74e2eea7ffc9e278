"""Sensor on raw files: a day that arrives or changes is built; and the rotation of sensors over many targets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.naming import job_name, slug
from recsys_assets.dagster_defs.private_api import UnresolvedJob
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.pipeline.arrivals import Arrivals, Due, look
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

TARGETS_A_TICK = 100
_FORMER_FIELDS: Mapping[str, str] = {"told": "recorded", "message": "recorded"}
"""Names that fields of stored cursors had before, each with its name now."""

SENSOR = "raw_arrivals"
SECONDS = 30
MAX_CHARACTERS = 1000  # characters


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


class ArrivalsCursor(RotatingCursor, frozen=True):
    """The next target, and what the files of each target looked like when they were compared last."""

    seen: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)


def arrivals_sensor(
    settings: Settings,
    store: RunStore,
    rows: Sequence[TargetSettings],
    jobs: Sequence[UnresolvedJob],
    *,
    prefix: str = "",
) -> dg.SensorDefinition:
    """Return the sensor over the targets with `automation.watch`; it runs from the first load on if there are any."""
    watched = [row for row in rows if settings.automation_for(row).watch]

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        jobs=jobs,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if watched else dg.DefaultSensorStatus.STOPPED,
        description="Start a target's day when its raw files have arrived and settled, and past days "
        "that changed, with every window over them. On where automation.watch is set; a tick says why nothing starts.",
    )
    def raw_arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not watched:
            return dg.SkipReason("no target is watched: set automation.watch = true in the configuration")
        tick = begin_tick(context, watched, ArrivalsCursor)
        now = datetime.now(UTC)
        looks, faults = _look_at(store.store, settings, tick.chosen, tick.cursor, now=now)
        for fault in faults:
            context.log.error(fault)
        due = [found for one in looks.values() for found in one.due]
        seen = {**tick.cursor.seen, **{name: one.seen for name, one in looks.items()}}
        return dg.SensorResult(
            run_requests=[run_request(found) for found in due],
            skip_reason=None if due else _nothing(looks, faults),
            cursor=write_cursor(ArrivalsCursor(tick.next, seen)),
        )

    return raw_arrivals


def run_request(due: Due) -> dg.RunRequest:
    """Return the run of a due day; its key is made of the content, so that the same cause starts one run."""
    return dg.RunRequest(
        job_name=job_name(due.row),
        partition_key=due.day.isoformat(),
        run_key=f"{slug(due.row)}|{due.day}|{due.address}",
        tags={"recsys/why": due.why},
    )


def _look_at(
    store: ObjectStore, settings: Settings, rows: Sequence[TargetSettings], cursor: ArrivalsCursor, *, now: datetime
) -> tuple[dict[str, Arrivals], list[str]]:
    """Return one look per target, and what went wrong; a target that cannot be looked at never hides another."""
    looks: dict[str, Arrivals] = {}
    faults: list[str] = []
    for row in rows:
        try:
            looks[slug(row)] = look(store, settings, row, seen=cursor.seen.get(slug(row), {}), now=now)
        except (RecsysAssetsError, OSError) as error:
            faults.append(f"{row.target}: {type(error).__name__}: {error}")
    return looks, faults


def _nothing(looks: Mapping[str, Arrivals], faults: Sequence[str]) -> str:
    if faults:
        return "; ".join(faults)
    unsettled = sorted({name for one in looks.values() for name in one.unsettled})
    return f"still being written: {', '.join(unsettled)}"[:MAX_CHARACTERS] if unsettled else "nothing new"
