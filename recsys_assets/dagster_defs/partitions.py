"""One partition a UTC day, from the configured first day; nothing here knows what a day holds."""

from datetime import date, timedelta

import dagster as dg

from recsys_assets.settings.inputs import PartitionSettings


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
