"""Dagster names of a target's assets, group, tags and jobs, and its daily UTC partitions."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:  # the run queue is loaded by processes that read no settings
    from recsys_assets.settings.inputs import PartitionSettings
    from recsys_assets.settings.settings import TargetSettings

_LIVE = "live"
TARGET_TAG = "recsys/target"
TENANT_TAG = "recsys/tenant"
OPERATION_TAG = "recsys/operation"  # Tag of runs that change what is served. The queue does not delay them.


def asset_key(row: "TargetSettings", name: str) -> dg.AssetKey:
    """Return `[tenant, surface, name]`, or `[slug, name]` if its name is not valid in Dagster."""
    return dg.AssetKey([*row.slug_parts, name])


def live_key(row: "TargetSettings") -> dg.AssetKey:
    """Return the key of a target's live data. Its prefix keeps it out of selections of the target's assets."""
    return dg.AssetKey([_LIVE, *row.slug_parts])


def group_name(row: "TargetSettings") -> str:
    """Return the group of a target's assets."""
    return "/".join(row.slug_parts)


def slug(row: "TargetSettings") -> str:
    """Return the target as a valid, unique Dagster name."""
    return "__".join(row.slug_parts)


def job_name(row: "TargetSettings") -> str:
    """Return the name of the job that builds one day of the target."""
    return f"build_{slug(row)}"


def schedule_name(row: "TargetSettings") -> str:
    """Return the name of the schedule that runs that job."""
    return f"nightly_{slug(row)}"


def publish_pool(row: "TargetSettings") -> str:
    """Return the concurrency pool of steps that move the target's pointer. Correctness relies only on the swap."""
    return f"publish_{slug(row)}"


def run_tags(row: "TargetSettings", *, priority: int) -> dict[str, str]:
    """Return the tags for ordering and limiting the runs of a target's job in the run queue."""
    return owner(row) | {"dagster/priority": str(priority)}


def owner(row: "TargetSettings") -> dict[str, str]:
    """Return the target and tenant of an asset as metadata, because asset tags do not allow every name."""
    return {TARGET_TAG: str(row.target), TENANT_TAG: row.tenant}


def asset_tags(row: "TargetSettings") -> dict[str, str]:
    """Return the tags that select a target's assets in the UI and in selections."""
    return {TARGET_TAG: slug(row)[:63]}


def daily_partitions(settings: "PartitionSettings") -> dg.DailyPartitionsDefinition:
    """Return the days as Dagster partitions. A day becomes a partition when it has ended."""
    after = settings.end + timedelta(days=1) if settings.end else None
    return dg.DailyPartitionsDefinition(
        start_date=settings.start.isoformat(), end_date=after and after.isoformat(), timezone="UTC"
    )


def rolling_window(days: int) -> dg.TimeWindowPartitionMapping:
    """Return the mapping from a day to the `days` days that end with it, limited to existing partitions."""
    return dg.TimeWindowPartitionMapping(start_offset=1 - days)


def day_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> date:
    """Return the day of the run's partition."""
    return date.fromisoformat(context.partition_key)
