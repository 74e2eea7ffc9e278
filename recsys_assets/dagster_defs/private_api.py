"""Uses of Dagster's private API without a public equivalent: jobs, ticks, events, checks, the event log, run launchers.

Checked with Dagster 1.13. A test pins the version, so that a newer one is reviewed before it is allowed.
"""

import importlib
from collections.abc import Iterator
from datetime import datetime
from typing import TypeAlias

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext
from dagster._core.launcher import WorkerStatus as WorkerStatus  # noqa: PLC0414 - exported
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster._utils.hosted_user_process import recon_repository_from_origin
from dagster._utils.schedules import schedule_execution_time_iterator

CHECKED_VERSION = "1.13"

SqliteEventLog: TypeAlias = SqliteEventLogStorage
"""Dagster's event log on SQLite, whose method `_connect` a subclass overrides."""

ClassConfig: TypeAlias = ConfigurableClassData
"""Module, class and configuration of a class that `dagster.yaml` selects."""

LaunchContext: TypeAlias = LaunchRunContext
"""What a run launcher is given: the run and the workspace."""

HealthResult: TypeAlias = CheckRunHealthResult
"""What run monitoring is given of the process of a run."""

RunArguments: TypeAlias = ExecuteRunArgs
"""Job origin, run id and instance of a run, as `dagster api execute_run` takes them."""

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


def is_on_this_machine(run: dg.DagsterRun) -> bool:
    """Return whether the code server of a run is on this machine: started by Dagster, on a Unix socket, or none."""
    if run.remote_job_origin is None:
        return True
    origin = run.remote_job_origin.repository_origin.code_location_origin
    if isinstance(origin, GrpcServerCodeLocationOrigin):
        return origin.socket is not None
    return isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin)


def run_arguments(run: dg.DagsterRun, instance: dg.DagsterInstance) -> str:
    """Return the serialized arguments of `dagster api execute_run` for a run, whose job must have an origin."""
    if run.job_code_origin is None:
        raise ValueError(f"run {run.run_id} has no job origin")
    return serialize_value(ExecuteRunArgs(run.job_code_origin, run.run_id, instance.get_ref()))


def read_arguments(serialized: str) -> RunArguments:
    """Return the arguments that `run_arguments` serialized."""
    return deserialize_value(serialized, ExecuteRunArgs)


def open_instance(arguments: RunArguments) -> dg.DagsterInstance:
    """Open the Dagster instance of a run."""
    if arguments.instance_ref is None:
        raise ValueError(f"the arguments of run {arguments.run_id} name no Dagster instance")
    return dg.DagsterInstance.from_ref(arguments.instance_ref)


def import_instance_classes(arguments: RunArguments) -> None:
    """Import the modules of the classes that the Dagster instance of a run names."""
    for data in arguments.instance_ref or ():
        if isinstance(data, ConfigurableClassData):
            importlib.import_module(data.module_name)


def module_of(arguments: RunArguments) -> str:
    """Return the module of the definitions of a run; "" if they are in a file or a package."""
    pointer = arguments.job_origin.repository_origin.code_pointer
    return pointer.module if isinstance(pointer, ModuleCodePointer) else ""


def load_definitions(arguments: RunArguments) -> None:
    """Load the definitions of a run's code location; Dagster keeps them in the loaded module."""
    recon_repository_from_origin(arguments.job_origin.repository_origin).get_definition()


def execute_run(serialized: str) -> None:
    """Execute a run in this process, as `dagster api execute_run` does with these arguments."""
    from dagster._cli.api import api_cli  # noqa: PLC0415 - needed by the fork server alone

    api_cli.main(["execute_run", serialized], standalone_mode=False)
