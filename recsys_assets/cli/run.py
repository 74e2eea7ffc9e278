"""`recsys-assets run`: builds of days in one process, with a line per asset, a progress bar, a summary of failures."""

import os
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from recsys_assets.cli.change_commands import deliver_after
from recsys_assets.cli.main import EXIT_REFUSED, kept_imports
from recsys_assets.cli.options import HOME_VARIABLE, CommandContext, choose_targets, config_option, day_type
from recsys_assets.cli.output import echo
from recsys_assets.identity import utc_now
from recsys_assets.kinds.registry import check_params
from recsys_assets.messages import plural, printable
from recsys_assets.pipeline.arrivals import choose_days, is_up_to_date, last_built_day
from recsys_assets.pipeline.context import DayContext, open_configured_store
from recsys_assets.pipeline.records import configured_key
from recsys_assets.pipeline.run_day import AssetLine, run_day
from recsys_assets.pipeline.stopping import is_stopping, run_until_signal
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

if TYPE_CHECKING:
    from rich.progress import Progress

# Variables by which rich takes other output for a terminal. rich knows which values they must have.
_FORCED = ("FORCE_COLOR", "TTY_COMPATIBLE")
EXIT_SIGNAL = 128  # plus the number of the signal, as in shells
BuildDay = Callable[[date], Iterable[AssetLine]]


class DayLines:
    """Lines on standard output, without a progress bar if it is not a terminal."""

    def show(self, line: AssetLine) -> None:
        """Print the line of an asset."""
        echo(line.text)

    def end_day(self, failed: int) -> None:
        """Note that a day is done, and the number of days that have failed so far."""


class _WatchedLines(DayLines):
    """Lines above a bar."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress

    def show(self, line: AssetLine) -> None:
        """Print the line of an asset in its style, and its name at the bar."""
        progress = self._progress
        progress.update(progress.task_ids[0], description=printable(f"{line.day} {line.asset}"))
        progress.console.print(printable(line.text), style=line.style, highlight=False, soft_wrap=True, markup=False)

    def end_day(self, failed: int) -> None:
        """Move the bar on."""
        shown = f", {failed} failed" if failed else ""
        self._progress.update(self._progress.task_ids[0], advance=1, failed=shown)


@contextmanager
def day_lines(total: int) -> Generator[DayLines]:
    """Yield the printer of the lines of `total` days."""
    if not sys.stdout.isatty() and not any(os.environ.get(name) for name in _FORCED):
        yield DayLines()
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a start, for those who watch
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console()
    columns = (
        TextColumn("{task.description:<38.38}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("days{task.fields[failed]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal) as progress:
        progress.add_task("", total=total, failed="")
        yield _WatchedLines(progress)


@click.command()
@config_option
@click.option("--tenant", help="with --surface: only this target; default: every target")
@click.option("--surface")
@click.option("--start", type=day_type, help="first day, such as 2026-01-31; default: the last day that was built")
@click.option("--end", type=day_type, help="last day, inclusive; default: the first day, or yesterday without --start")
@click.option("--resume", is_flag=True, help="skip days that are up to date; the last day is always built")
@click.option(
    "--rebuild-without-missing-files",
    "without_missing",
    is_flag=True,
    help="allow rebuilds of days from which raw files have disappeared, which lose their events",
)
@click.option(
    "--accept-smaller-days",
    "smaller",
    is_flag=True,
    help="allow rebuilds that lose more events than raw.max_lost_share, or whose raw files have disappeared",
)
def run(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    start: date | None,
    end: date | None,
    resume: bool,
    without_missing: bool,
    smaller: bool,
) -> int:
    """Build, gate and ship every day from START to END, oldest first. The live release never moves to an older day.

    Without --start it catches up: from the last day that was built for every target to yesterday, limits.max_days at
    most.
    """
    settings = load_settings(config)
    if without_missing or smaller:
        accepted = {"rebuild_without_missing_files": True} | ({"max_lost_share": 1.0} if smaller else {})
        raw = settings.raw.model_copy(update=accepted)
        settings = settings.model_copy(update={"raw": raw})
    rows = choose_targets(settings, tenant=tenant, surface=surface)
    check_params(settings, rows)
    store = open_configured_store(settings)  # fails now if the store is missing, not once per asset
    today = utc_now().date()
    if start is None:
        start, end = last_built_day(store, rows, before=today), end or _last_whole_day(settings, today)
    days = choose_days(settings, start=start, end=end or start, today=today)
    configured_key(settings)  # fails now if the key is missing
    done = (
        {day for day in days[:-1] if all(is_up_to_date(DayContext(store, settings, row, day)) for row in rows)}
        if resume
        else set()
    )
    backfill, started = _Backfill(settings, rows, store, days, done), utc_now()
    failures, stopped_by = run_until_signal(backfill.run, notify=_say_stopping)
    if stopped_by is not None:
        echo(
            f"stopped by {stopped_by.name}: {backfill.finished} of {plural(len(days), 'day')} processed, "
            f"{plural(len(failures), 'failure')}; repeat the command with --resume to continue",
            err=True,
        )
        return EXIT_SIGNAL + stopped_by
    deliver_after(CommandContext(settings, store, tuple(row.target for row in rows)))
    _export_metrics(settings, rows, day=days[-1], failed=[line.asset for line in failures], started=started)
    return _summary(days, done, failures)


@dataclass(slots=True)
class _Backfill:
    """Build of several days in order, with the number of days processed."""

    settings: Settings
    rows: Sequence[TargetSettings]
    store: ObjectStore
    days: Sequence[date]
    done: Collection[date]
    finished: int = 0

    def run(self) -> list[AssetLine]:
        """Build each day and print its lines.

        Returns the failed ones. Ends after the step in which a signal arrives.
        """
        failures: list[AssetLine] = []
        with self._building() as build, day_lines(len(self.days)) as lines:
            for day in self.days:
                for line in [] if day in self.done else build(day):
                    lines.show(line)
                    if line.failed:
                        failures.append(line)
                if is_stopping():
                    break
                self.finished += 1
                lines.end_day(len({line.day for line in failures}))
        return failures

    @contextmanager
    def _building(self) -> Generator[BuildDay]:
        """Yield the function that builds a day, by Dagster if $DAGSTER_HOME is set, so that the UI shows the run."""
        if os.environ.get(HOME_VARIABLE):
            with kept_imports():
                from recsys_assets.cli.recorded_run import recorded_days  # noqa: PLC0415 - a second of imports

            with recorded_days(self.settings, self.rows) as build:
                yield build
            return
        echo(f"{HOME_VARIABLE} is not set: the runs will not appear in the UI", err=True)
        yield partial(run_day, self.store, self.settings, self.rows)


def _say_stopping(name: str) -> None:
    os.write(2, f"{name}: stopping after this step; repeat the signal to stop immediately\n".encode())


def _last_whole_day(settings: Settings, today: date) -> date:
    return min(today - timedelta(days=1), settings.partitions.end or date.max)


def _export_metrics(
    settings: Settings, rows: Sequence[TargetSettings], *, day: date, failed: Sequence[str], started: datetime
) -> None:
    """Export metrics of each target: failed if an asset of it or the shared `raw` failed. Print export errors."""
    if settings.metrics.folder is None and settings.metrics.push is None:
        return
    from recsys_assets.observability.build_metrics import RunEnd  # noqa: PLC0415 - off by default
    from recsys_assets.observability.export_metrics import export_metrics  # noqa: PLC0415 - as above

    store, now = open_configured_store(settings), utc_now()
    for row in rows:
        own = ("raw", "/".join((*row.slug_parts, "")))
        run = RunEnd(not any(asset.startswith(own) for asset in failed), now, (now - started).total_seconds())
        for fault in export_metrics(store, settings, [row], day=day, run=run, now=now):
            echo(fault, err=True)


def _summary(days: Sequence[date], passed_over: Collection[date], failures: Sequence[AssetLine]) -> int:
    before = f", {len(passed_over)} of them before" if passed_over else ""
    if not failures:
        echo(f"{plural(len(days), 'day')} done{before}")
        return 0
    done = len(days) - len({line.day for line in failures})
    echo(f"{done} of {plural(len(days), 'day')} done{before}, {plural(len(failures), 'failure')}:", err=True)
    for line in failures:
        echo(f"  {line.text}", err=True)
    return EXIT_REFUSED
