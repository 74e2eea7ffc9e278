"""Sinks in Dagster: an asset that makes a target's databases follow what is live, and a sensor that sees one behind."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.arrivals import MAX_CHARACTERS, RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import translate_errors
from recsys_assets.dagster_defs.lineage import about_asset, page_of_target
from recsys_assets.dagster_defs.naming import asset_key
from recsys_assets.dagster_defs.operation_configs import utc_now
from recsys_assets.dagster_defs.operations import SYNC_JOB
from recsys_assets.dagster_defs.rollouts import request_operation
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.steps import MANIFEST, SINKS, BuiltStep, sinks_step
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.sinks.configured import SinkState, look_at_sinks
from recsys_assets.sinks.sync import sync_target

SENSOR = "sinks"
SECONDS = 30


def sinks_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the asset that reconciles: launched for any day, it makes each sink serve what is live now."""
    step, sinks = sinks_step(), settings.sinks_for(row.target)

    @target_asset(
        settings,
        row,
        SINKS,
        kinds={one.type for one in sinks.values()},
        deps=[asset_key(row, MANIFEST)],
        code_version=code_version(
            sync_target, params={name: one.model_dump(mode="json") for name, one in sinks.items()}
        ),
        about=about_asset(settings, sync_target, key=None, page=page_of_target(row)),
        description=f"What is live of {row.target} in the databases that services look up in: {', '.join(sinks)}.",
    )
    def sinks_follow(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        timer = Timer()
        with translate_errors():
            for built in step.build(store.day_context(context, settings, row)):
                if isinstance(built, BuiltStep):
                    yield dg.MaterializeResult(metadata=timer.numbers(built.numbers))

    return sinks_follow


def sink_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor that starts a run for each target whose sink is behind: after a rollback, after an outage."""
    written = [row for row in rows if settings.sinks_for(row.target)]

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        job_name=f"{prefix}{SYNC_JOB}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Make databases that services look up in follow what is live, wherever it was "
        "changed. On from the first load.",
    )
    def sinks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = begin_tick(context, written, RotatingCursor)
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for row in tick.chosen:
            found = look_at_sinks(store.store, settings, row.target, now=utc_now())
            reasons += [f"{row.target}: {one.sink}: {one.message}" for one in found]
            behind = [one for one in found if one.state is SinkState.BEHIND]
            if behind:
                key = "|".join(f"{one.sink}:{one.revision}" for one in behind)
                op = f"{prefix}{SYNC_JOB}_target"
                reason = "a sink is behind"
                requests.append(request_operation(row, SENSOR, reason, key, behind[0].message, op=op, now=utc_now()))
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:MAX_CHARACTERS])
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=write_cursor(RotatingCursor(tick.next)))

    return sinks
