"""Run queue that counts every run for its tenant: also a backfill, and a selection that somebody starts in the UI."""

from collections.abc import Iterator

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext, TextMetadataValue

from recsys_assets.dagster_defs.naming import OPERATION_TAG, TARGET_TAG, TENANT_TAG


class TargetQueue(QueuedRunCoordinator):
    """Dagster's queue, in which every run carries the tags of whom it builds for: `dagster.yaml` names it.

    Schedules and sensors start jobs, whose tags the queue limits by. A backfill of assets starts runs that know only
    their assets: without this a tenant's backfill and its nightly would not be counted together.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put the run in the queue, tagged by the one tenant and the one target of its assets, if it is one.

        Short operations (a rollback, a hold) have a place of their own: they start at once, whatever runs or waits.
        """
        if OPERATION_TAG in context.dagster_run.tags:
            self._instance.launch_run(context.dagster_run.run_id, context.workspace)
            return self._instance.get_run_by_id(context.dagster_run.run_id) or context.dagster_run
        tags = {} if TARGET_TAG in context.dagster_run.tags else dict(_agreed(context))
        if tags:
            self._instance.add_run_tags(context.dagster_run.run_id, tags)
        return super().submit_run(context)


def _agreed(context: SubmitRunContext) -> Iterator[tuple[str, str]]:
    """Yield what all assets of a run say of their owner; the raw asset is everybody's and says nothing."""
    keys = context.dagster_run.asset_selection
    if not keys:
        return
    graph = context.workspace.asset_graph
    said = [graph.get(key).metadata for key in keys if graph.has(key)]
    for tag in (TARGET_TAG, TENANT_TAG):
        values = {value.text for one in said if isinstance(value := one.get(tag), TextMetadataValue)}
        if len(values) == 1 and None not in values:
            yield tag, values.pop() or ""
