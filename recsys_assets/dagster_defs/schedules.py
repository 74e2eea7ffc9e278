"""The nightly schedule of each target: the day before, built, gated and shipped at the configured time."""

from datetime import UTC, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)  # named nowhere public

from recsys_assets.dagster_defs.naming import schedule_name
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def nightly_schedule(
    settings: Settings, row: TargetSettings, job: UnresolvedAssetJobDefinition
) -> dg.ScheduleDefinition:
    """Return the schedule of one target; it runs from the first load on only where `automation.nightly` says so."""
    automation = settings.automation_for(row)

    @dg.schedule(
        name=schedule_name(row),
        job=job,
        cron_schedule=automation.cron,
        execution_timezone=automation.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if automation.nightly else dg.DefaultScheduleStatus.STOPPED,
        description=f"Build, gate and ship the day before of {row.target}: {automation.cron} in {automation.timezone}.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date()
        first, last = settings.partitions.start, settings.partitions.end
        if day < first or (last is not None and day > last):
            return dg.SkipReason(f"{day} is no day of [partitions]: they go from {first} to {last or 'yesterday'}")
        return dg.RunRequest(partition_key=day.isoformat())

    return nightly
