"""Private names of Dagster that have no public ones: unresolved jobs, ticks, events of another time, planned checks.

Checked with Dagster 1.13; a test names the version, so that a newer one is looked at before it is allowed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._utils.schedules import schedule_execution_time_iterator

CHECKED_VERSION = "1.13"

UnresolvedJob: TypeAlias = UnresolvedAssetJobDefinition
"""What `dg.define_asset_job` returns: a job over a selection of assets, which the definitions that hold it resolve."""


def ticks_before(instant: datetime, *, cron: str, timezone: str) -> Iterator[datetime]:
    """Yield the ticks of a schedule before an instant, newest first, as the daemon finds them."""
    ticks = schedule_execution_time_iterator(instant.timestamp(), cron, timezone, ascending=False)
    return (tick for tick in ticks if tick < instant)


def report_of(instance: dg.DagsterInstance, found: dg.AssetMaterialization, *, at: datetime) -> None:
    """Report a materialization, outside any run, as of an instant: a freshness policy counts from there.

    `report_runless_asset_event`, the public way, knows only the present.
    """
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        event_specific_data=StepMaterializationData(found),
        job_name=RUNLESS_JOB_NAME,
    )
    instance.report_dagster_event(event, run_id=RUNLESS_RUN_ID, timestamp=at.timestamp())


def planned_checks(context: dg.AssetExecutionContext, assets: dg.AssetSelection) -> set[dg.AssetCheckKey]:
    """Return the checks of some assets that this run is to report."""
    planned = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED)
    data = [one.dagster_event.asset_check_planned_data for one in planned if one.dagster_event is not None]
    graph = context.op_execution_context.job_def.asset_layer.asset_graph
    return {dg.AssetCheckKey(one.asset_key, one.check_name) for one in data} & assets.resolve_checks(graph)
