"""Uses of Dagster's private API without a public equivalent: job types, ticks, events, planned checks, the event log.

Checked with Dagster 1.13. A test pins the version, so that a newer one is reviewed before it is allowed.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from dagster._utils.schedules import schedule_execution_time_iterator

CHECKED_VERSION = "1.13"

SqliteEventLog: TypeAlias = SqliteEventLogStorage
"""Dagster's event log on SQLite, whose method `_connect` a subclass overrides."""

ClassConfig: TypeAlias = ConfigurableClassData
"""Module, class and configuration of a class that `dagster.yaml` selects."""

UnresolvedJob: TypeAlias = UnresolvedAssetJobDefinition
"""Return type of `dg.define_asset_job`: a job over an asset selection, resolved by the definitions that contain it."""


def ticks_before(instant: datetime, *, cron: str, timezone: str) -> Iterator[datetime]:
    """Yield the ticks of a schedule before `instant`, newest first, as the daemon computes them."""
    ticks = schedule_execution_time_iterator(instant.timestamp(), cron, timezone, ascending=False)
    return (tick for tick in ticks if tick < instant)


def report_of(instance: dg.DagsterInstance, materialization: dg.AssetMaterialization, *, at: datetime) -> None:
    """Report a materialization outside any run with the timestamp `at`, from which a freshness policy counts.

    The public `report_runless_asset_event` supports only the current time.
    """
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        event_specific_data=StepMaterializationData(materialization),
        job_name=RUNLESS_JOB_NAME,
    )
    instance.report_dagster_event(event, run_id=RUNLESS_RUN_ID, timestamp=at.timestamp())


def planned_checks(context: dg.AssetExecutionContext, assets: dg.AssetSelection) -> set[dg.AssetCheckKey]:
    """Return the planned checks of this run on the selected assets."""
    planned = context.instance.all_logs(context.run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED)
    data = [record.dagster_event.asset_check_planned_data for record in planned if record.dagster_event is not None]
    graph = context.op_execution_context.job_def.asset_layer.asset_graph
    return {dg.AssetCheckKey(check.asset_key, check.check_name) for check in data} & assets.resolve_checks(graph)
