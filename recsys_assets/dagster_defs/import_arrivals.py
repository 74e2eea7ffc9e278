"""Sensor on drop folders: files of other teams are registered and tested, and shipped if their day is built."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from recsys_assets.dagster_defs.arrivals import ArrivalsCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.naming import asset_key, job_name, slug
from recsys_assets.dagster_defs.private_api import UnresolvedJob
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.pipeline.arrivals import DueImport, due_imports
from recsys_assets.pipeline.steps import MANIFEST
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

SENSOR = "import_arrivals"
SECONDS = 60


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
        name=f"{prefix}{SENSOR}",
        jobs=jobs,
        minimum_interval_seconds=SECONDS,
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
                due_files = list(due_imports(store.store, settings, row, seen=seen_here, now=datetime.now(UTC)))
            except (RecsysAssetsError, OSError) as error:
                faults.append(f"{row.target}: {type(error).__name__}: {error}")
                continue
            seen_here.update({file.place: file.appearance for file in due_files})
            due += due_files
        for fault in faults:
            context.log.error(fault)
        return dg.SensorResult(
            run_requests=[run_request(file) for file in due],
            skip_reason=None if due else "; ".join(faults) or "nothing new",
            cursor=write_cursor(ArrivalsCursor(tick.next, seen)),
        )

    return import_arrivals


def run_request(due: DueImport) -> dg.RunRequest:
    """Return the run that registers and tests a file, and ships its day if the rest of the day is built."""
    names = [due.kind, MANIFEST] if due.can_ship else [due.kind]
    return dg.RunRequest(
        job_name=job_name(due.row),
        partition_key=due.day.isoformat(),
        run_key=f"import|{slug(due.row)}|{due.day}|{due.address}",
        asset_selection=[asset_key(due.row, name) for name in names],
        tags={"recsys/why": f"{due.kind} of {due.day} was dropped"},
    )
