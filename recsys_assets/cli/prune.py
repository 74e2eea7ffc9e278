"""Command that removes old runs: Dagster keeps every run for ever, and nothing that serves needs them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from recsys_assets.cli.instance import opened_instance
from recsys_assets.cli.options import clock
from recsys_assets.cli.output import echo
from recsys_assets.messages import plural

if TYPE_CHECKING:
    from dagster import DagsterInstance

_PAGE = 500


@click.command("prune-runs")
@click.option("--older-than-days", type=click.IntRange(0), default=180, show_default=True, help="by when they began")
@click.option("--apply", is_flag=True, help="do it; else only say how many there are")
def prune_runs(*, older_than_days: int, apply: bool) -> int:
    """Remove runs that ended and are old, with their events, from the instance that $DAGSTER_HOME names.

    Days that only those runs built look missing in the UI afterwards; `reindex` reports to Dagster what they shipped.
    """
    with opened_instance() as instance:
        found = list(_old_runs(instance, clock() - timedelta(days=older_than_days)))
        for run_id in found if apply else ():
            instance.delete_run(run_id)
    echo(f"{'removed' if apply else 'would remove'} {plural(len(found), 'run')}")
    return 0


def _old_runs(instance: "DagsterInstance", before: datetime) -> Iterator[str]:
    """Yield the ids of runs that have ended and were created before an instant, newest first."""
    from dagster import DagsterRunStatus, RunsFilter  # noqa: PLC0415

    ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
    chosen, cursor = RunsFilter(statuses=ended, created_before=before), None
    while True:
        page = instance.get_run_ids(chosen, cursor=cursor, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        cursor = page[-1]
