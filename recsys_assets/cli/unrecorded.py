"""The instance of a run that no Dagster records: its events are printed as they come, and kept nowhere."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.event_api import EventRecordsResult
from dagster._core.instance.types import InstanceType
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import TemporaryLocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage  # none of these is named anywhere public


def unrecorded_instance() -> dg.DagsterInstance:
    """Return what `dg.DagsterInstance.ephemeral()` returns, but for an event log that nobody could ever read.

    A target writes some fifty events, and each step asks for those of the assets before it: a third of what a small
    target costs, and memory that grows with their number.
    """
    return dg.DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=TemporaryLocalArtifactStorage(),
        run_storage=InMemoryRunStorage(),
        event_storage=_NoEventLog(),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=DefaultRunCoordinator(),
        run_launcher=SyncInMemoryRunLauncher(),
    )


class _NoEventLog(InMemoryEventLogStorage):
    """Takes every event and has none: as an ephemeral log is to the first step of a run."""

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Forget it: `execute_in_process` hands the events of its run to who called it."""

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Forget them."""

    def get_asset_records(self, *_asked: object, **_more: object) -> Sequence[Any]:
        """Return none, without a query."""
        return []

    def fetch_materializations(self, *_asked: object, **_more: object) -> EventRecordsResult:
        """Return none, without a query."""
        return EventRecordsResult([], cursor="", has_more=False)

    def fetch_observations(self, *_asked: object, **_more: object) -> EventRecordsResult:
        """Return none, without a query."""
        return EventRecordsResult([], cursor="", has_more=False)
