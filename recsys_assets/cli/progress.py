"""Printed lines of a run, with a progress bar of its days below them on a terminal."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsys_assets.cli.output import echo
from recsys_assets.messages import printable
from recsys_assets.pipeline.run_day import AssetLine

if TYPE_CHECKING:
    from rich.progress import Progress

# Variables by which rich takes other output for a terminal. rich knows which values they must have.
_FORCED = ("FORCE_COLOR", "TTY_COMPATIBLE")


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
