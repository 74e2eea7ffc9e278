"""Definitions of the graph: a raw asset, a group of assets, gates and jobs per target, and the schedules."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from recsys_assets.dagster_defs.alerts import alert_sensors
from recsys_assets.dagster_defs.arrivals import arrivals_sensor, import_sensor
from recsys_assets.dagster_defs.asset_factory import gate_check
from recsys_assets.dagster_defs.freshness import CHECK, freshness_check, freshness_sensor, live_asset
from recsys_assets.dagster_defs.lineage import catalog_source, exposures_source, external_assets
from recsys_assets.dagster_defs.naming import group_name, job_name, live_key, run_tags, schedule_name, slug
from recsys_assets.dagster_defs.operation_jobs import COLLECT_JOB, SIGN_JOB, operation_jobs
from recsys_assets.dagster_defs.private_api import UnresolvedJob, ticks_before
from recsys_assets.dagster_defs.raw import RAW, raw_asset
from recsys_assets.dagster_defs.rollouts import live_sensor, rollout_sensor
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.dagster_defs.sinks import sink_sensor, sinks_asset
from recsys_assets.dagster_defs.target_assets import (
    artifact_asset,
    canonical_asset,
    import_asset,
    manifest_asset,
    outcomes_asset,
    signals_asset,
)
from recsys_assets.kinds.registry import find_kind, read_params
from recsys_assets.pipeline.steps import SIGNALS, artifact_step, canonical_step, import_step
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings, TargetSettings

BUILD_ALL = "build_all"
LEAST_DAYS_FOR_DAILY = 3  # validity of signatures for a daily renewal: two runs may fail
Asset = dg.AssetsDefinition | dg.AssetChecksDefinition


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


def build_definitions(
    settings: Settings | None = None,
    *,
    rows: Sequence[TargetSettings] | None = None,
    raw: dg.AssetKey = RAW,
    name: str = "",
) -> dg.Definitions:
    """Return new definitions of every target, or only of `rows`. The raw asset has the key `raw`.

    The configuration is read from $RECSYS_CONFIG or ./recsys.toml if none is given. `name` is the prefix of jobs and
    sensors over all targets, so that several graphs can share one code location.
    """
    settings = settings or load_settings()
    rows, store = rows or settings.targets, RunStore(settings)
    prefix = f"{name}_" if name else ""
    parts = [part for row in rows for part in target_parts(settings, store, row, raw=raw, name=name)]
    jobs = [target_job(settings, row, raw=raw) for row in rows]
    return dg.Definitions(
        assets=[
            *external_assets(settings, rows, signals=SIGNALS, name=name),
            *(live_asset(settings, row) for row in rows),
            raw_asset(settings, store, rows, exposures=exposures_source(name), key=raw),
            *(part for part in parts if not isinstance(part, dg.AssetChecksDefinition)),
        ],
        asset_checks=[part for part in parts if isinstance(part, dg.AssetChecksDefinition)],
        jobs=[
            all_targets_job(rows, raw=raw, name=f"{prefix}{BUILD_ALL}"),
            *jobs,
            *operation_jobs(settings, store, rows, prefix=prefix),
        ],
        schedules=[
            *(nightly_schedule(settings, row, job) for row, job in zip(rows, jobs, strict=True)),
            collection_schedule(settings, prefix=prefix),
            *([signing_schedule(settings, prefix=prefix)] if settings.signing_keys else []),
        ],
        sensors=[
            arrivals_sensor(settings, store, rows, jobs, prefix=prefix),
            import_sensor(settings, store, rows, jobs, prefix=prefix),
            freshness_sensor(settings, store, rows, prefix=prefix),
            rollout_sensor(settings, store, rows, prefix=prefix),
            live_sensor(settings, store, rows, prefix=prefix),
            *([sink_sensor(settings, store, rows, prefix=prefix)] if _has_sinks(settings, rows) else []),
            *alert_sensors(settings, store, rows, prefix=prefix),
        ],
        executor=None if prefix else dg.in_process_executor,
    )


def _has_sinks(settings: Settings, rows: Sequence[TargetSettings]) -> bool:
    return any(settings.sinks_for(row.target) for row in rows)


def target_parts(
    settings: Settings, store: RunStore, row: TargetSettings, *, raw: dg.AssetKey, name: str = ""
) -> list[Asset]:
    """Return every asset and check of one target."""
    catalog = catalog_source(name)
    kinds = [find_kind(name) for name in settings.artifacts.kinds]
    built = [
        artifact_asset(settings, store, row, kind, read_params(settings, row, kind.name), catalog=catalog)
        for kind in kinds
    ]
    return [
        canonical_asset(settings, store, row, raw=raw),
        *built,
        *(import_asset(settings, store, row, kind) for kind in settings.imports_for(row)),
        *_checks(settings, store, row),
        manifest_asset(settings, store, row),
        *([signals_asset(settings, store, row)] if settings.signals.write else []),
        *([sinks_asset(settings, store, row)] if settings.sinks_for(row.target) else []),
        *([outcomes_asset(settings, store, row)] if settings.outcomes.enabled else []),
        freshness_check(settings, store, row),
    ]


def _checks(settings: Settings, store: RunStore, row: TargetSettings) -> Iterator[dg.AssetChecksDefinition]:
    """Yield the gate check of each asset of one target."""
    kinds, imports = settings.artifacts.kinds, settings.imports_for(row)
    description = "Contract, volume, share of bad lines and of duplicates of the stored day."
    yield gate_check(settings, store, row, canonical_step(), description=description)
    description = "Contract, bounds, size, window and share of excluded events of the stored artifact."
    yield from (gate_check(settings, store, row, artifact_step(kind), description=description) for kind in kinds)
    description = "Format, contract, compatibility with the live one, rows, size and age of the stored file."
    yield from (gate_check(settings, store, row, import_step(kind), description=description) for kind in imports)
