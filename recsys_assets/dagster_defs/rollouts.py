"""Sensors on the answers of consumers: they start runs for decisions of the rollout guard and the answer guard."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from logging import Logger

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.alerts import MAX_CHARACTERS, is_wanted, post
from recsys_assets.dagster_defs.arrivals import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.naming import slug
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import utc_now
from recsys_assets.pipeline.upkeep_settings import guards, watch
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.upkeep.answer_guard import LiveDecision, LiveVerdict, look_at_live
from recsys_assets.upkeep.rollout_guard import Decision, RolloutVerdict, look_at_rollout

JOB = "decide_rollout"
SENSOR = "rollouts"
SECONDS = 60
_AGAIN_SECONDS = 600  # a failed run is requested again after this time
LIVE_JOB = "decide_rollback"
LIVE_SENSOR = "answers"


def rollout_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor over the targets with staged rollouts. It is on by default if there are any."""
    rolled_out = [row for row in rows if settings.rollout_for(row).enabled]

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        job_name=f"{prefix}{JOB}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if rolled_out else dg.DefaultSensorStatus.STOPPED,
        description="Advance or abort rollouts by the answers of consumers. On for targets with [rollout].",
    )
    def rollouts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not rolled_out:
            return dg.SkipReason("no target has staged rollouts: set rollout.enabled = true in the configuration")
        tick = begin_tick(context, rolled_out, RotatingCursor)
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        for row in tick.chosen:
            try:
                decision = look_at_rollout(store.store, row.target, guards(settings, row), now=utc_now())
            except (RecsysAssetsError, OSError) as error:
                reasons.append(f"{row.target}: {type(error).__name__}: {error}")
                continue
            reasons.append(f"{row.target}: {decision.message}")
            requests += _requests(row, decision, op=f"{prefix}{JOB}_target", now=utc_now())
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:1000])
        cursor = write_cursor(RotatingCursor(tick.next))
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor)

    return rollouts


def _requests(row: TargetSettings, decision: Decision, *, op: str, now: datetime) -> list[dg.RunRequest]:
    """Return the run request of a decision, if any. Its key contains the step, so that each step is decided once."""
    if decision.rollout is None or decision.verdict in {RolloutVerdict.WAIT, RolloutVerdict.NOTHING}:
        return []
    key = f"{decision.rollout.updated_at}|{decision.verdict.value}"
    return [request_operation(row, SENSOR, "rollout guard", key, decision.verdict.value, op=op, now=now)]


def request_operation(
    row: TargetSettings, sensor: str, reason: str, key: str, cause: str, *, op: str, now: datetime
) -> dg.RunRequest:
    """Return the run request of an operation on a target. `key` identifies the cause, so that it runs once."""
    config = {"target": str(row.target), "actor": f"{sensor} (sensor)", "reason": reason}
    return dg.RunRequest(
        run_key=f"{slug(row)}|{key}|{int(now.timestamp()) // _AGAIN_SECONDS}",
        run_config={"ops": {op: {"config": {**config, "dry_run": False}}}},
        tags={"recsys/why": cause},
    )


class LiveCursor(RotatingCursor, frozen=True):
    """Next target, and per target the release for which the webhook accepted an alert."""

    alerted: Mapping[str, str] = msgspec.field(default_factory=dict)


def live_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor over the targets with an answer guard. It is on by default if there are any."""
    watched = [row for row in rows if settings.rollback_for(row).automatic != "off"]

    @dg.sensor(
        name=f"{prefix}{LIVE_SENSOR}",
        job_name=f"{prefix}{LIVE_JOB}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if watched else dg.DefaultSensorStatus.STOPPED,
        description="Roll back or alert if far more answers from the live release are empty than from the one before. "
        "On if rollback.automatic is set.",
    )
    def answers(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if not watched:
            return dg.SkipReason("no target has an answer guard: set rollback.automatic in the configuration")
        tick, now = begin_tick(context, watched, LiveCursor), utc_now()
        requests: list[dg.RunRequest] = []
        reasons: list[str] = []
        alerted = dict(tick.cursor.alerted)
        for row in tick.chosen:
            try:
                decision = look_at_live(store.store, row.target, watch(settings, row), now=now)
            except (RecsysAssetsError, OSError) as error:
                reasons.append(f"{row.target}: {type(error).__name__}: {error}")
                continue
            reasons.append(f"{row.target}: {decision.message}")
            if decision.verdict in {LiveVerdict.ADVISE, LiveVerdict.ROLL_BACK}:
                _alert(row, decision, alerted, context.log)
            if decision.verdict is LiveVerdict.ROLL_BACK:
                op, key = f"{prefix}{LIVE_JOB}_target", f"{decision.live}|{decision.verdict.value}"
                requests.append(
                    request_operation(row, LIVE_SENSOR, "answer guard", key, decision.verdict.value, op=op, now=now)
                )
        skip = None if requests else dg.SkipReason("; ".join(reasons)[:1000])
        return dg.SensorResult(
            run_requests=requests, skip_reason=skip, cursor=write_cursor(LiveCursor(tick.next, alerted))
        )

    return answers


def _alert(row: TargetSettings, decision: LiveDecision, alerted: dict[str, str], log: Logger) -> None:
    """Alert the webhook once that the live release is far worse. Retries at the next tick if it is not accepted."""
    if not is_wanted() or alerted.get(slug(row)) == decision.live:
        return
    action = "is rolled back" if decision.verdict is LiveVerdict.ROLL_BACK else "needs a person"
    text = f"{row.target} {action}: {decision.why}"[:MAX_CHARACTERS]
    document = {"event": "answers_worse", "text": text, "target": str(row.target), "release": decision.live}
    try:
        post({**document, "decision": decision.verdict.value, "why": decision.why[:MAX_CHARACTERS]})
    except dg.Failure:
        log.exception("the webhook did not accept the alert")
        return
    alerted[slug(row)] = decision.live or ""
