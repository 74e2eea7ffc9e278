"""Alerts: webhooks for events of targets and failed runs, and metrics of every finished run for Prometheus."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from recsys_assets.dagster_defs.arrivals import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.attempts import reason_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.identity import utc_now
from recsys_assets.observability.build_metrics import RunEnd
from recsys_assets.observability.export_metrics import export_metrics
from recsys_assets.observability.webhooks import MAX_CHARACTERS, deliver, send
from recsys_assets.settings.outputs import WEBHOOK_URL_VARIABLE, receivers
from recsys_assets.settings.settings import Settings, TargetSettings

WEBHOOK = WEBHOOK_URL_VARIABLE
WEBHOOK_SENSOR = "webhooks"
WEBHOOK_SECONDS = 30
_TARGET, _PARTITION = "recsys/target", "dagster/partition"


def is_wanted() -> bool:
    """Return whether a webhook is configured in the environment."""
    return bool(os.environ.get(WEBHOOK))


def post(document: Mapping[str, object]) -> None:
    """Post one JSON document to the webhook in $RECSYS_WEBHOOK_URL. Chats display its `text`.

    Raises `dg.Failure` if the webhook does not accept it, so that the tick fails with the reason.
    """
    fault = send(os.environ.get(WEBHOOK, ""), json.dumps(document).encode(), {})
    if fault:
        raise dg.Failure(f"the webhook of {WEBHOOK} did not accept the alert: {fault}")


def alert_sensors(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> list[dg.SensorDefinition]:
    """Return the sensors. Each is on by default if a receiver is configured."""
    return [
        _run_failure_sensor(rows, prefix=prefix),
        _webhook_sensor(settings, store, rows, prefix=prefix),
        *_metrics_sensors(settings, store, rows, prefix=prefix),
    ]


def _webhook_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str
) -> dg.SensorDefinition:
    """Return the sensor that sends undelivered events to receivers. The store keeps the delivery state."""

    @dg.sensor(
        name=f"{prefix}{WEBHOOK_SENSOR}",
        minimum_interval_seconds=WEBHOOK_SECONDS,
        default_status=_running(bool(receivers(settings.webhooks))),
        description="Send events of targets to [[webhooks]], also when a target turns stale or fresh again. On if a "
        "receiver is configured.",
    )
    def send_webhooks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick = begin_tick(context, rows, RotatingCursor)
        faults = deliver(store.store, settings, tick.chosen, now=utc_now)
        for fault in faults:
            context.log.error(fault)
        cursor = write_cursor(RotatingCursor(tick.next))
        return dg.SensorResult(skip_reason="; ".join(faults) or "all is sent", cursor=cursor)

    return send_webhooks


def _run_failure_sensor(rows: Sequence[TargetSettings], *, prefix: str) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name=f"{prefix}run_failure_webhook",
        default_status=_running(is_wanted()),
        description=f"Post every run that fails to the webhook of ${WEBHOOK}. On if it is set.",
    )
    def run_failure_webhook(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if prefix and not _is_ours(run, rows, prefix=prefix):
            return
        target, day = run.tags.get(_TARGET), run.tags.get(_PARTITION)
        errors = [*_refusals(context), *map(_reason, _failures(context))]
        about = " ".join(part for part in (target or run.job_name, day) if part)
        post(
            {
                "event": "run_failed",
                "text": f"{about} failed: {'; '.join(errors) or context.failure_event.message}"[:MAX_CHARACTERS],
                "job": run.job_name,
                "target": target,
                "day": day,
                "run_id": run.run_id,
                "errors": [error[:MAX_CHARACTERS] for error in errors],
            }
        )

    return run_failure_webhook


def _metrics_sensors(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str
) -> Iterator[dg.SensorDefinition]:
    """Yield a sensor for each final status of a run."""
    is_exported = settings.metrics.folder is not None or settings.metrics.push is not None
    for ended in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE):

        @dg.run_status_sensor(
            run_status=ended,
            name=f"{prefix}metrics_of_{ended.value.lower()}",
            default_status=_running(is_exported),
            description="Export the metrics of the targets of a finished run. On if metrics.folder or "
            "metrics.push is set.",
        )
        def metrics(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
            run, now = context.dagster_run, utc_now()
            stats = context.instance.get_run_stats(run.run_id)
            seconds = (stats.end_time or 0) - (stats.start_time or stats.launch_time or 0)
            end = RunEnd(run.is_success, datetime.fromtimestamp(stats.end_time or now.timestamp(), UTC), seconds)
            day = run.tags.get(_PARTITION)
            faults = export_metrics(
                store.store,
                settings,
                _rows_of(run, rows),
                day=date.fromisoformat(day) if day else None,
                run=end,
                now=now,
            )
            for fault in faults:
                context.log.error(fault)

        yield metrics


def _is_ours(run: dg.DagsterRun, rows: Sequence[TargetSettings], *, prefix: str) -> bool:
    """Return whether a run is about one of these targets. Other targets may share the code location."""
    about = run.tags.get(_TARGET) is not None or bool(run.asset_selection)
    return run.job_name.startswith(prefix) or (about and bool(_rows_of(run, rows)))


def _rows_of(run: dg.DagsterRun, rows: Sequence[TargetSettings]) -> list[TargetSettings]:
    """Return the targets of a run: the one in its tag, or those whose assets it was to build."""
    target = run.tags.get(_TARGET)
    if target is not None:
        return [row for row in rows if str(row.target) == target]
    prefixes = {tuple(key.path[:-1]) for key in run.asset_selection or ()}
    return [row for row in rows if not prefixes or row.slug_parts in prefixes]


def _refusals(context: dg.RunFailureSensorContext) -> Iterator[str]:
    """Yield the refusals by gates in a run."""
    wanted = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    for record in context.instance.all_logs(context.dagster_run.run_id, of_type=wanted):
        if record.dagster_event is not None:
            result = record.dagster_event.asset_check_evaluation_data
            if not result.passed and result.severity is dg.AssetCheckSeverity.ERROR:
                yield f"{result.asset_key.to_user_string()}: {result.description}"


def _failures(context: dg.RunFailureSensorContext) -> Iterator[dg.DagsterEvent]:
    """Yield the failed steps, except those that only repeat a failed check."""
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        if error is None or error.cls_name != "DagsterAssetCheckFailedError":
            yield event


def _reason(event: dg.DagsterEvent) -> str:
    return f"{event.step_key}: {reason_of(event)}"


def _running(is_wanted: bool) -> dg.DefaultSensorStatus:  # noqa: FBT001 - its only parameter
    return dg.DefaultSensorStatus.RUNNING if is_wanted else dg.DefaultSensorStatus.STOPPED
