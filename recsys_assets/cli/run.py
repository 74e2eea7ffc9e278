"""`recsys-assets run`: the same assets, day after day in one process, a line per asset, failures named at the end."""

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta

import click
import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import choose_targets, config_option, day_type
from recsys_assets.cli.report import AssetLine, read_result
from recsys_assets.config import Settings, load_settings
from recsys_assets.defs.assemble import build_definitions
from recsys_assets.defs.jobs import BUILD_ALL
from recsys_assets.errors import ConfigurationError

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@click.command()
@config_option
@click.option("--tenant", help="with --surface: one target; without both: every target")
@click.option("--surface")
@click.option("--start", type=day_type, required=True, help="first day, like 2026-01-31")
@click.option("--end", type=day_type, help="last day, included; the first day when left out")
def run(*, config: str | None, tenant: str | None, surface: str | None, start: date, end: date | None) -> int:
    """Build, gate and ship every day from START to END, oldest first; what is live never moves back."""
    _quiet_what_the_lines_say_better()
    settings = load_settings(config)
    rows = choose_targets(settings, tenant=tenant, surface=surface)
    days = choose_days(settings, start=start, end=end or start, today=datetime.now(UTC).date())
    job = build_definitions(settings, rows=rows).resolve_job_def(BUILD_ALL)
    failures: list[AssetLine] = []
    with _instance() as instance, _progress(len(days)) as progress:
        for day in days:
            result = job.execute_in_process(
                partition_key=day.isoformat(),
                instance=instance,
                raise_on_error=False,
                run_config=QUIET,
            )
            for line in read_result(result, day):
                progress.console.print(line.text, style=line.style, highlight=False, soft_wrap=True, markup=False)
                if line.failed:
                    failures.append(line)
            progress.advance(progress.task_ids[0])
    return _summary(days, failures)


def choose_days(settings: Settings, *, start: date, end: date, today: date) -> list[date]:
    """Return the days from `start` to `end`; all are checked before the first is touched."""
    if end < start:
        raise ConfigurationError(f"--end {end} is before --start {start}")
    first = settings.partitions.start
    if start < first:
        raise ConfigurationError(
            f"--start {start} is before partitions.start {first}: begin later, or change the setting"
        )
    last = settings.partitions.end
    if last is not None and end > last:
        raise ConfigurationError(f"--end {end} is after partitions.end {last}: end earlier, or change the setting")
    if end >= today:
        raise ConfigurationError(f"--end {end} has not ended in UTC: the last whole day is {today - timedelta(days=1)}")
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def _quiet_what_the_lines_say_better() -> None:
    """Keep Dagster from warning, for each skipped day, that its checks gave no result.

    An instance sets the level of "dagster" anew, so the logger that says it is told by name.
    """
    logging.getLogger("dagster").setLevel(logging.ERROR)
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)


@contextmanager
def _instance() -> Generator[dg.DagsterInstance]:
    """Open the instance that $DAGSTER_HOME names, so that the UI shows these runs; without it nothing is recorded."""
    if os.environ.get("DAGSTER_HOME"):
        with dg.DagsterInstance.get() as instance:
            yield instance
        return
    click.echo("DAGSTER_HOME is not set: the runs will not show in the UI", err=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@contextmanager
def _progress(total: int) -> Generator[Progress]:
    """Show days done on a terminal (standard error stays quiet elsewhere); lines go to standard output."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ExitStack() as stack:
        progress = stack.enter_context(
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        )
        progress.add_task("days", total=total)
        yield progress


def _summary(days: list[date], failures: list[AssetLine]) -> int:
    if not failures:
        click.echo(f"{len(days)} day(s) done")
        return 0
    click.echo(f"{len(days)} day(s) done, {len(failures)} failure(s):", err=True)
    for line in failures:
        click.echo(f"  {line.text}", err=True)
    return EXIT_REFUSED
