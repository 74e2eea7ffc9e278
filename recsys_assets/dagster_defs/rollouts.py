"""Sensors of what consumers answer: they start a run where a guard has decided, of a rollout or of what is live."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from logging import Logger

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.alerts import MAX_CHARACTERS, is_wanted, post
from recsys_assets.dagster_defs.arrivals import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.naming import slug
from recsys_assets.dagster_defs.operation_configs import utc_now
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.pipeline.upkeep_settings import guards, watch
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.answer_guard import LiveDecision, LiveVerdict, look_at_live
from recsys_assets.upkeep.rollout_guard import Decision, RolloutVerdict, look_at_rollout

JOB = "decide_rollout"
SENSOR = "rollouts"
SECONDS = 60
_AGAIN_SECONDS = 600  # after so long a run that failed is asked for again
LIVE_JOB = "decide_rollback"
LIVE_SENSOR = "answers"


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
        description="Advance or abort what is shown to a share of requests, by what consumers "
        "answered. On for targets with [rollout].",
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
            requests += _requests(row, found, op=f"{prefix}{JOB}_target", now=utc_now())
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:1000])
        cursor = write_cursor(RotatingCursor(tick.next))
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor)

    return rollouts


def _requests(row: TargetSettings, found: Decision, *, op: str, now: datetime) -> list[dg.RunRequest]:
    """Return the run of a decision, if one is due: its key names the step, so that each is decided once at a time."""
    if found.rollout is None or found.verdict in {RolloutVerdict.WAIT, RolloutVerdict.NOTHING}:
        return []
    key = f"{found.rollout.updated_at}|{found.verdict.value}"
    return [request_operation(row, SENSOR, "the guard of the rollout", key, found.verdict.value, op=op, now=now)]


def request_operation(
    row: TargetSettings, sensor: str, reason: str, key: str, why: str, *, op: str, now: datetime
) -> dg.RunRequest:
    """Return the run of an operation on a target; the key is that of what it is about, so that it is asked for once."""
    config = {"target": str(row.target), "actor": f"{sensor} (sensor)", "reason": reason}
    return dg.RunRequest(
        run_key=f"{slug(row)}|{key}|{int(now.timestamp()) // _AGAIN_SECONDS}",
        run_config={"ops": {op: {"config": {**config, "dry_run": False}}}},
        tags={"recsys/why": why},
    )


class LiveCursor(RotatingCursor, frozen=True):
    """The next target, and which release of each the webhook has taken as one that answers worse."""

    alerted: Mapping[str, str] = msgspec.field(default_factory=dict)


def live_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor over the targets whose live release is watched; it runs from the first load on if any is."""
    watched = [row for row in rows if settings.rollback_for(row).automatic != "off"]

    @dg.sensor(
        name=f"{prefix}{LIVE_SENSOR}",
        job_name=f"{prefix}{LIVE_JOB}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if watched else dg.DefaultSensorStatus.STOPPED,
        description="Roll back, or alert, where live answers without items far more often than the release before. On "
        "where rollback.automatic says so.",
    )
    def answers(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not watched:
            return dg.SkipReason("nothing live is watched: set rollback.automatic in the configuration")
        tick, now = begin_tick(context, watched, LiveCursor), utc_now()
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        alerted = dict(tick.cursor.alerted)
        for row in tick.chosen:
            try:
                found = look_at_live(store.store, row.target, watch(settings, row), now=now)
            except (RecsysAssetsError, OSError) as error:
                reasons.append(f"{row.target}: {type(error).__name__}: {error}")
                continue
            reasons.append(f"{row.target}: {found.message}")
            if found.verdict in {LiveVerdict.ADVISE, LiveVerdict.ROLL_BACK}:
                _alert(row, found, alerted, context.log)
            if found.verdict is LiveVerdict.ROLL_BACK:
                op, key = f"{prefix}{LIVE_JOB}_target", f"{found.live}|{found.verdict.value}"
                requests.append(
                    request_operation(row, LIVE_SENSOR, "the guard of live", key, found.verdict.value, op=op, now=now)
                )
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:1000])
        return dg.SensorResult(
            run_requests=requests, skip_reason=skip, cursor=write_cursor(LiveCursor(tick.next, alerted))
        )

    return answers


def _alert(row: TargetSettings, found: LiveDecision, alerted: dict[str, str], log: Logger) -> None:
    """Post once to the webhook that live is far worse; one that does not take it is asked again at the next tick."""
    if not is_wanted() or alerted.get(slug(row)) == found.live:
        return
    does = "is rolled back" if found.verdict is LiveVerdict.ROLL_BACK else "needs a person"
    text = f"{row.target} {does}: {found.why}"[:MAX_CHARACTERS]
    document = {"event": "answers_worse", "text": text, "target": str(row.target), "release": found.live}
    try:
        post({**document, "decision": found.verdict.value, "why": found.why[:MAX_CHARACTERS]})
    except dg.Failure:
        log.exception("the webhook does not answer")
        return
    alerted[slug(row)] = found.live or ""
