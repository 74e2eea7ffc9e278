"""Jobs that build one day of one or all targets, and the schedules."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from recsys_assets.dagster_defs.freshness import CHECK
from recsys_assets.dagster_defs.naming import group_name, job_name, live_key, run_tags, schedule_name, slug
from recsys_assets.dagster_defs.operation_jobs import COLLECT_JOB, SIGN_JOB
from recsys_assets.dagster_defs.private_api import UnresolvedJob, ticks_before
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

BUILD_ALL = "build_all"
LEAST_DAYS_FOR_DAILY = 3  # validity of signatures for a daily renewal: two runs may fail


def target_job(settings: Settings, row: TargetSettings, *, raw: dg.AssetKey) -> UnresolvedJob:
    """Return the job that builds, gates and ships one day of one target."""
    return dg.define_asset_job(
        job_name(row),
        selection=(dg.AssetSelection.assets(raw) | dg.AssetSelection.groups(group_name(row))) - live_data([row]),
        description=f"Build, gate and ship one day of {row.target}.",
        tags=run_tags(row, priority=settings.automation_for(row).priority),
        executor_def=dg.in_process_executor,
    )


def all_targets_job(rows: Sequence[TargetSettings], *, raw: dg.AssetKey, name: str = BUILD_ALL) -> UnresolvedJob:
    """Return the job that builds and ships one day of every target. A failed target does not affect the others."""
    assets = dg.AssetSelection.assets(raw) | dg.AssetSelection.groups(*map(group_name, rows))
    return dg.define_asset_job(
        name,
        selection=assets - live_data(rows),
        description="Build, gate and ship one day of every target.",
        executor_def=dg.in_process_executor,
    )


def live_data(rows: Sequence[TargetSettings]) -> dg.AssetSelection:
    """Return live data and its freshness checks, which concern the present, so the build of a day must not run them."""
    keys = [live_key(row) for row in rows]
    return dg.AssetSelection.assets(*keys) | dg.AssetSelection.checks(*(dg.AssetCheckKey(key, CHECK) for key in keys))


def nightly_schedule(settings: Settings, row: TargetSettings, job: UnresolvedJob) -> dg.ScheduleDefinition:
    """Return the nightly schedule of one target. It is on by default if `automation.nightly` is set."""
    automation = settings.automation_for(row)

    @dg.schedule(
        name=schedule_name(row),
        job=job,
        cron_schedule=automation.cron,
        execution_timezone=automation.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if automation.nightly else dg.DefaultScheduleStatus.STOPPED,
        description=f"Build, gate and ship the newest ended day of {row.target}: {automation.cron} in "
        f"{automation.timezone}; also days that ended since the previous tick but were never the newest at a tick. "
        "On if automation.nightly is set.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        days = days_of_tick(context.scheduled_execution_time, cron=automation.cron, timezone=automation.timezone)
        if not days:
            return dg.SkipReason(
                "no UTC day has ended since the tick of the previous local day, which built the newest one"
            )
        first, last = settings.partitions.start, settings.partitions.end
        wanted = [day for day in days if first <= day and (last is None or day <= last)]
        if not wanted:
            return dg.SkipReason(f"{days[-1]} is not in [partitions], which are from {first} to {last or 'yesterday'}")
        tick = context.scheduled_execution_time.astimezone(UTC).isoformat()
        return [
            dg.RunRequest(partition_key=day.isoformat(), run_key=f"{slug(row)}|{day}|{tick}")
            for day in wanted[-settings.limits.max_days :]
        ]

    return nightly


def collection_schedule(settings: Settings, *, prefix: str = "") -> dg.ScheduleDefinition:
    """Return the schedule of collections: dry runs, or, with `retention.collect = "apply"`, real ones.

    On by default unless `retention.collect` is off, so that a full disk is not the first reminder.
    """
    mode = settings.retention.collect
    return dg.ScheduleDefinition(
        name=f"{prefix}weekly_collection",
        job_name=f"{prefix}{COLLECT_JOB}",
        cron_schedule=settings.retention.collect_cron,
        execution_timezone="UTC",
        run_config={"ops": {f"{prefix}collect_targets": {"config": {"dry_run": mode != "apply"}}}},
        default_status=dg.DefaultScheduleStatus.STOPPED if mode == "off" else dg.DefaultScheduleStatus.RUNNING,
        description=("Collect unneeded objects" if mode == "apply" else "Report what a collection would take")
        + ", as set by retention.collect.",
    )


def signing_schedule(settings: Settings, *, prefix: str = "") -> dg.ScheduleDefinition:
    """Return the schedule that renews signatures, so that none expires while nothing ships. It is on by default."""
    return dg.ScheduleDefinition(
        name=f"{prefix}renew_signatures",
        job_name=f"{prefix}{SIGN_JOB}",
        cron_schedule="23 3 * * *" if settings.signing.valid_days >= LEAST_DAYS_FOR_DAILY else "23 * * * *",
        execution_timezone="UTC",
        run_config={"ops": {f"{prefix}sign_targets": {"config": {"dry_run": False}}}},
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Sign live pointers again, so that their signatures do not expire while nothing ships.",
    )


def days_of_tick(tick: datetime, *, cron: str, timezone: str) -> list[date]:
    """Return the UTC days to build at a tick, oldest first: those that ended after the previous tick.

    The list is empty if no day ended. A tick that is not the first of its local date builds the newest day again,
    because its cron expression requests several runs a day: files may have arrived since.
    """
    before = next(ticks_before(tick, cron=cron, timezone=timezone), None)
    newest = _newest_ended(tick)
    if before is None:
        return [newest]
    count = (newest - _newest_ended(before)).days
    zone = ZoneInfo(timezone)
    if count == 0 and before.astimezone(zone).date() == tick.astimezone(zone).date():
        return [newest]
    return [newest - timedelta(days=back) for back in reversed(range(count))]


def _newest_ended(instant: datetime) -> date:
    return instant.astimezone(UTC).date() - timedelta(days=1)
