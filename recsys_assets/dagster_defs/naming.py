"""Names in Dagster of a target's assets, group, tags and jobs, and its partitions: one a UTC day."""

from datetime import date, timedelta

import dagster as dg

from recsys_assets.settings.inputs import PartitionSettings
from recsys_assets.settings.target import TargetSettings

_LIVE = "live"
TARGET_TAG = "recsys/target"
TENANT_TAG = "recsys/tenant"
OPERATION_TAG = "recsys/operation"  # of runs that change what is served: no queue holds them


def asset_key(row: TargetSettings, name: str) -> dg.AssetKey:
    """Return `[tenant, surface, name]`, or `[slug, name]` for a target that Dagster cannot carry by name."""
    return dg.AssetKey([*row.slug_parts, name])


def live_key(row: TargetSettings) -> dg.AssetKey:
    """Return the key of what services read now: not among the target's own, for commands that build all of those."""
    return dg.AssetKey([_LIVE, *row.slug_parts])


def group_name(row: TargetSettings) -> str:
    """Return the group that shows a target by itself in the asset graph."""
    return "/".join(row.slug_parts)


def slug(row: TargetSettings) -> str:
    """Return the target as one word that is a name in Dagster, distinct for each target."""
    return "__".join(row.slug_parts)


def job_name(row: TargetSettings) -> str:
    """Return the name of the job that builds one day of the target."""
    return f"build_{slug(row)}"


def schedule_name(row: TargetSettings) -> str:
    """Return the name of the schedule that runs that job."""
    return f"nightly_{slug(row)}"


def publish_pool(row: TargetSettings) -> str:
    """Return the pool of what moves the target's pointer: a queue keeps its runs apart, the swap keeps them right."""
    return f"publish_{slug(row)}"


def run_tags(row: TargetSettings, *, priority: int) -> dict[str, str]:
    """Return the tags by which the run queue orders and limits the runs of a target's job."""
    return owner(row) | {"dagster/priority": str(priority)}


def owner(row: TargetSettings) -> dict[str, str]:
    """Return whose an asset is: its metadata says it, since the tags of assets cannot hold every name."""
    return {TARGET_TAG: str(row.target), TENANT_TAG: row.tenant}


def asset_tags(row: TargetSettings) -> dict[str, str]:
    """Return the tags that select a target's assets in the UI and in selections."""
    return {TARGET_TAG: slug(row)[:63]}


def daily_partitions(settings: PartitionSettings) -> dg.DailyPartitionsDefinition:
    """Return the days as Dagster partitions; today becomes one when it has ended."""
    after = settings.end + timedelta(days=1) if settings.end else None
    return dg.DailyPartitionsDefinition(
        start_date=settings.start.isoformat(), end_date=after and after.isoformat(), timezone="UTC"
    )


def rolling_window(days: int) -> dg.TimeWindowPartitionMapping:
    """Return the mapping from a day to the `days` days that end with it, as far as there are partitions."""
    return dg.TimeWindowPartitionMapping(start_offset=1 - days)


def day_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> date:
    """Return the day of the run's partition."""
    return date.fromisoformat(context.partition_key)
