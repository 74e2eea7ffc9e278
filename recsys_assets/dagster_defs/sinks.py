"""Sinks in Dagster: an asset that syncs a target's databases with the live release, and a sensor for outdated sinks."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.arrivals import MAX_CHARACTERS, RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import translate_errors
from recsys_assets.dagster_defs.lineage import about_asset, page_of_target
from recsys_assets.dagster_defs.naming import asset_key
from recsys_assets.dagster_defs.operations import SYNC_JOB
from recsys_assets.dagster_defs.rollouts import request_operation
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.identity import utc_now
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.steps import MANIFEST, SINKS, BuiltStep, sinks_step
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.sinks.configured import SinkState, look_at_sinks
from recsys_assets.sinks.sync import sync_target

SENSOR = "sinks"
SECONDS = 30


def sinks_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the asset that makes each sink serve the release that is live now, whatever day it is launched for."""
    step, sinks = sinks_step(), settings.sinks_for(row.target)

    @target_asset(
        settings,
        row,
        SINKS,
        kinds={sink.type for sink in sinks.values()},
        deps=[asset_key(row, MANIFEST)],
        code_version=code_version(
            sync_target, params={name: sink.model_dump(mode="json") for name, sink in sinks.items()}
        ),
        about=about_asset(settings, sync_target, key=None, page=page_of_target(row)),
        description=f"The live release of {row.target} in the databases that services query: {', '.join(sinks)}.",
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
    """Return the sensor that starts a run for each target with an outdated sink, e.g. after a rollback or an outage."""
    written = [row for row in rows if settings.sinks_for(row.target)]

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        job_name=f"{prefix}{SYNC_JOB}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sync the databases that services query with the live release, however it was "
        "changed. On by default.",
    )
    def sinks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = begin_tick(context, written, RotatingCursor)
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for row in tick.chosen:
            states = look_at_sinks(store.store, settings, row.target, now=utc_now())
            reasons += [f"{row.target}: {sink.sink}: {sink.message}" for sink in states]
            behind = [sink for sink in states if sink.state is SinkState.BEHIND]
            if behind:
                key = "|".join(f"{sink.sink}:{sink.revision}" for sink in behind)
                op = f"{prefix}{SYNC_JOB}_target"
                reason = "a sink is behind"
                requests.append(request_operation(row, SENSOR, reason, key, behind[0].message, op=op, now=utc_now()))
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:MAX_CHARACTERS])
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=write_cursor(RotatingCursor(tick.next)))

    return sinks
