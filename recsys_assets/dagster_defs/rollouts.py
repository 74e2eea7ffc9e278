"""Sensor of staged rollouts: it looks at what consumers answered, and starts a run where the guard has decided."""

from collections.abc import Sequence

import dagster as dg

from recsys_assets.dagster_defs.arrivals import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.naming import slug
from recsys_assets.dagster_defs.operations import utc_now
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.pipeline.retention import guards
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.guard import Decision, Verdict, look_at_rollout

JOB = "decide_rollout"
SENSOR = "rollouts"
SECONDS = 60


def rollout_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor over the targets whose releases are rolled out; it runs from the first load on if any is."""
    rolled_out = [row for row in rows if settings.rollout_for(row).enabled]

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        job_name=f"{prefix}{JOB}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if rolled_out else dg.DefaultSensorStatus.STOPPED,
        description="Advance or abort what is shown to a share of requests, by what consumers answered.",
    )
    def rollouts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not rolled_out:
            return dg.SkipReason("no target is rolled out by steps: set rollout.enabled = true in the configuration")
        tick = begin_tick(context, rolled_out, RotatingCursor)
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for row in tick.chosen:
            try:
                found = look_at_rollout(store.store, row.target, guards(settings, row), now=utc_now())
            except (RecsysAssetsError, OSError) as error:
                reasons.append(f"{row.target}: {type(error).__name__}: {error}")
                continue
            reasons.append(f"{row.target}: {found.message}")
            requests += _requests(row, found, op=f"{prefix}{JOB}_target")
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:1000])
        cursor = write_cursor(RotatingCursor(tick.next))
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor)

    return rollouts


def _requests(row: TargetSettings, found: Decision, *, op: str) -> list[dg.RunRequest]:
    """Return the run of a decision, if one is due: its key names the step, so that each is decided once."""
    if found.rollout is None or found.verdict in {Verdict.WAIT, Verdict.NOTHING}:
        return []
    config = {"target": str(row.target), "actor": "rollouts (sensor)", "reason": "the guard of the rollout"}
    return [
        dg.RunRequest(
            run_key=f"{slug(row)}|{found.rollout.updated_at}|{found.verdict.value}",
            run_config={"ops": {op: {"config": {**config, "dry_run": False}}}},
            tags={"recsys/why": found.verdict.value},
        )
    ]
