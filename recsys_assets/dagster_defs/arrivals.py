"""Sensors that build days whose raw files arrive or change, and register dropped files of other teams.

Also the rotation of sensors over many targets.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.naming import asset_key, job_name, slug
from recsys_assets.dagster_defs.private_api import UnresolvedJob
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import utc_now
from recsys_assets.pipeline.arrivals import Arrivals, DueDay, DueImport, due_imports, input_finder, look
from recsys_assets.pipeline.steps import MANIFEST
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

TARGETS_A_TICK = 100
_FORMER_FIELDS: Mapping[str, str] = {"told": "recorded", "message": "recorded"}
"""Former names of fields in stored cursors, each with its current name."""

SENSOR = "raw_arrivals"
SECONDS = 30
IMPORT_SENSOR = "import_arrivals"
IMPORT_SECONDS = 60
MAX_CHARACTERS = 1000


class RotatingCursor(msgspec.Struct, frozen=True):
    """State of a sensor between ticks: at least the number of the first target of the next tick."""

    next: int = 0


C = TypeVar("C", bound=RotatingCursor)


class Tick(msgspec.Struct, Generic[C], frozen=True):
    """Tick of a sensor: the stored cursor, and the targets to evaluate."""

    cursor: C
    chosen: Sequence[TargetSettings]
    next: int  # number of the first target of the next tick


def begin_tick(context: dg.SensorEvaluationContext, rows: Sequence[TargetSettings], cursor: type[C]) -> Tick[C]:
    """Return the stored cursor, possibly of an earlier version, and the targets of this tick."""
    stored = read_cursor(context.cursor, cursor)
    chosen, following = rotate(rows, start=stored.next)
    return Tick(stored, chosen, following)


def read_cursor(text: str | None, cursor: type[C]) -> C:
    """Return the stored cursor of a sensor, or an empty one. Fields of earlier versions are renamed."""
    stored: dict[str, Any] = json.loads(text) if text else {}
    return msgspec.convert({_FORMER_FIELDS.get(name, name): value for name, value in stored.items()}, cursor)


def write_cursor(cursor: RotatingCursor) -> str:
    """Return a cursor as JSON for Dagster."""
    return msgspec.json.encode(cursor).decode()


def rotate(rows: Sequence[TargetSettings], *, start: int) -> tuple[list[TargetSettings], int]:
    """Return the targets of this tick from number `start` on, and the number where the next tick starts."""
    chosen = [rows[(start + n) % len(rows)] for n in range(min(TARGETS_A_TICK, len(rows)))]
    return chosen, (start + len(chosen)) % len(rows)


class ArrivalsCursor(RotatingCursor, frozen=True):
    """Next target, and the state of each target's files at their last comparison."""

    seen: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)


def arrivals_sensor(
    settings: Settings,
    store: RunStore,
    rows: Sequence[TargetSettings],
    jobs: Sequence[UnresolvedJob],
    *,
    prefix: str = "",
) -> dg.SensorDefinition:
    """Return the sensor over the targets with `automation.watch`. It is on by default if there are any."""
    watched = [row for row in rows if settings.automation_for(row).watch]

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        jobs=jobs,
        minimum_interval_seconds=_interval_seconds(settings),
        default_status=dg.DefaultSensorStatus.RUNNING if watched else dg.DefaultSensorStatus.STOPPED,
        description="Start a target's day when its raw files have arrived and settled, and changed past days "
        "with every window over them. On if automation.watch is set; a tick shows why nothing starts.",
    )
    def raw_arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not watched:
            return dg.SkipReason("no target is watched: set automation.watch = true in the configuration")
        tick = begin_tick(context, watched, ArrivalsCursor)
        now = utc_now()
        arrivals, faults = _read_arrivals(store.store, settings, tick.chosen, tick.cursor, now=now)
        for fault in faults:
            context.log.error(fault)
        due = [day for of_target in arrivals.values() for day in of_target.due]
        seen = {**tick.cursor.seen, **{name: of_target.seen for name, of_target in arrivals.items()}}
        return dg.SensorResult(
            run_requests=[run_request(day) for day in due],
            skip_reason=None if due else _skip_reason(arrivals, faults),
            cursor=write_cursor(ArrivalsCursor(tick.next, seen)),
        )

    return raw_arrivals


def _interval_seconds(settings: Settings) -> int:
    """Return the seconds between ticks: as many as a database or a warehouse is left alone.

    Dagster counts them from the beginning of a tick, also of one that fails or takes longer than its timeout.
    """
    return round(60 * settings.raw.query_interval_minutes) if settings.raw.is_queried else SECONDS


def run_request(due: DueDay) -> dg.RunRequest:
    """Return the run request of a due day. The run key depends on the content, so that a cause starts one run."""
    return dg.RunRequest(
        job_name=job_name(due.row),
        partition_key=due.day.isoformat(),
        run_key=f"{slug(due.row)}|{due.day}|{due.address}",
        tags={"recsys/why": due.reason},
    )


def _read_arrivals(
    store: ObjectStore, settings: Settings, rows: Sequence[TargetSettings], cursor: ArrivalsCursor, *, now: datetime
) -> tuple[dict[str, Arrivals], list[str]]:
    """Return the arrivals of each target, and the faults. An unreadable target never hides another."""
    arrivals: dict[str, Arrivals] = {}
    faults: list[str] = []
    find = input_finder(settings)
    for row in rows:
        try:
            arrivals[slug(row)] = look(store, settings, row, seen=cursor.seen.get(slug(row), {}), now=now, find=find)
        except (RecsysAssetsError, OSError) as error:
            faults.append(f"{row.target}: {type(error).__name__}: {error}")
    return arrivals, faults


def _skip_reason(arrivals: Mapping[str, Arrivals], faults: Sequence[str]) -> str:
    if faults:
        return "; ".join(faults)
    unsettled = sorted({name for of_target in arrivals.values() for name in of_target.unsettled})
    return f"still being written: {', '.join(unsettled)}"[:MAX_CHARACTERS] if unsettled else "nothing new"


def import_sensor(
    settings: Settings,
    store: RunStore,
    rows: Sequence[TargetSettings],
    jobs: Sequence[UnresolvedJob],
    *,
    prefix: str = "",
) -> dg.SensorDefinition:
    """Return the sensor over the targets with imports and `automation.watch`. It is on by default if there are any."""
    watched = [row for row in rows if settings.imports_for(row) and settings.automation_for(row).watch]

    @dg.sensor(
        name=f"{prefix}{IMPORT_SENSOR}",
        jobs=jobs,
        minimum_interval_seconds=IMPORT_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if watched else dg.DefaultSensorStatus.STOPPED,
        description="Register and test files that other teams drop; ship them if the rest of their "
        "day is built. On for targets with imports and automation.watch.",
    )
    def import_arrivals(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not watched:
            return dg.SkipReason("no target with [imports] is watched: set automation.watch = true")
        tick = begin_tick(context, watched, ArrivalsCursor)
        seen = {name: dict(files) for name, files in tick.cursor.seen.items()}
        due: list[DueImport] = []
        faults: list[str] = []
        for row in tick.chosen:
            seen_here = seen.setdefault(slug(row), {})
            try:
                due_files = list(due_imports(store.store, settings, row, seen=seen_here, now=utc_now()))
            except (RecsysAssetsError, OSError) as error:
                faults.append(f"{row.target}: {type(error).__name__}: {error}")
                continue
            seen_here.update({file.place: file.appearance for file in due_files})
            due += due_files
        for fault in faults:
            context.log.error(fault)
        return dg.SensorResult(
            run_requests=[import_request(file) for file in due],
            skip_reason=None if due else "; ".join(faults) or "nothing new",
            cursor=write_cursor(ArrivalsCursor(tick.next, seen)),
        )

    return import_arrivals


def import_request(due: DueImport) -> dg.RunRequest:
    """Return the run that registers and tests a file, and ships its day if the rest of the day is built."""
    names = [due.kind, MANIFEST] if due.can_ship else [due.kind]
    return dg.RunRequest(
        job_name=job_name(due.row),
        partition_key=due.day.isoformat(),
        run_key=f"import|{slug(due.row)}|{due.day}|{due.address}",
        asset_selection=[asset_key(due.row, name) for name in names],
        tags={"recsys/why": f"{due.kind} of {due.day} was dropped"},
    )
