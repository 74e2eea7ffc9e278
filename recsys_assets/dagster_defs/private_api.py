"""Private names of Dagster that have no public ones: the class of an unresolved job, and the ticks of a cron.

Checked with Dagster 1.13; a test names the version, so that a newer one is looked at before it is allowed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._utils.schedules import schedule_execution_time_iterator

CHECKED_VERSION = "1.13"

UnresolvedJob: TypeAlias = UnresolvedAssetJobDefinition
"""What `dg.define_asset_job` returns: a job over a selection of assets, which the definitions that hold it resolve."""


def ticks_before(instant: datetime, *, cron: str, timezone: str) -> Iterator[datetime]:
    """Yield the ticks of a schedule before an instant, newest first, as the daemon finds them."""
    ticks = schedule_execution_time_iterator(instant.timestamp(), cron, timezone, ascending=False)
    return (tick for tick in ticks if tick < instant)
