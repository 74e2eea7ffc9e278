"""Sensor on raw files: a day that arrives, or changes within the look-back, is built; equal content is not."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.naming import job_name, slug
from recsys_assets.dagster_defs.private_api import UnresolvedJob
from recsys_assets.dagster_defs.rotation import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.pipeline.arrivals import Due, Look, look
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

SENSOR = "raw_arrivals"
SECONDS = 30
MAX_CHARACTERS = 1000  # characters


class Cursor(RotatingCursor, frozen=True):
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
        description="Start a target's day when its raw files have arrived and settled, and past days that changed.",
    )
    def raw_arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not watched:
            return dg.SkipReason("no target is watched: set automation.watch = true in the configuration")
        tick = begin_tick(context, watched, Cursor)
        now = datetime.now(UTC)
        looks, faults = _look_at(store.store, settings, tick.chosen, tick.cursor, now=now)
        for fault in faults:
            context.log.error(fault)
        due = [found for one in looks.values() for found in one.due]
        seen = {**tick.cursor.seen, **{name: one.seen for name, one in looks.items()}}
        return dg.SensorResult(
            run_requests=[run_request(found) for found in due],
            skip_reason=None if due else _nothing(looks, faults),
            cursor=write_cursor(Cursor(tick.next, seen)),
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
    store: ObjectStore, settings: Settings, rows: Sequence[TargetSettings], cursor: Cursor, *, now: datetime
) -> tuple[dict[str, Look], list[str]]:
    """Return one look per target, and what went wrong; a target that cannot be looked at never hides another."""
    looks: dict[str, Look] = {}
    faults: list[str] = []
    for row in rows:
        try:
            looks[slug(row)] = look(store, settings, row, seen=cursor.seen.get(slug(row), {}), now=now)
        except (RecsysAssetsError, OSError) as error:
            faults.append(f"{row.target}: {type(error).__name__}: {error}")
    return looks, faults


def _nothing(looks: Mapping[str, Look], faults: Sequence[str]) -> str:
    if faults:
        return "; ".join(faults)
    unsettled = sorted({name for one in looks.values() for name in one.unsettled})
    return f"still being written: {', '.join(unsettled)}"[:MAX_CHARACTERS] if unsettled else "nothing new"
