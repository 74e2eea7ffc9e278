"""Run queue that counts every run for its tenant, also backfills and selections started in the UI."""

from collections.abc import Iterator

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext, TextMetadataValue

from recsys_assets.dagster_defs.naming import OPERATION_TAG, TARGET_TAG, TENANT_TAG


class TargetQueue(QueuedRunCoordinator):
    """Run queue, set in `dagster.yaml`, that tags every run with its tenant and target.

    Schedules and sensors start jobs, whose tags the queue uses for its limits. A backfill of assets starts runs without
    these tags: without this class, a tenant's backfill and its nightly run would not be counted together.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue the run, tagged with the tenant and the target of its assets if they are the same for all.

        Short operations (e.g. a rollback or a hold) are launched at once, regardless of running and queued runs.
        """
        if OPERATION_TAG in context.dagster_run.tags:
            self._instance.launch_run(context.dagster_run.run_id, context.workspace)
            return self._instance.get_run_by_id(context.dagster_run.run_id) or context.dagster_run
        tags = {} if TARGET_TAG in context.dagster_run.tags else dict(_common_tags(context))
        if tags:
            self._instance.add_run_tags(context.dagster_run.run_id, tags)
        return super().submit_run(context)


def _common_tags(context: SubmitRunContext) -> Iterator[tuple[str, str]]:
    """Yield the target and tenant tags that all assets of a run share. The raw asset has none."""
    keys = context.dagster_run.asset_selection
    if not keys:
        return
    graph = context.workspace.asset_graph
    metadata = [graph.get(key).metadata for key in keys if graph.has(key)]
    for tag in (TARGET_TAG, TENANT_TAG):
        values = {value.text for entries in metadata if isinstance(value := entries.get(tag), TextMetadataValue)}
        if len(values) == 1 and None not in values:
            yield tag, values.pop() or ""
