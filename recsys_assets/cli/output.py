"""Output of commands: records and tables for people, or one JSON document for programs."""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from recsys_assets.api.wording import distance, instant
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import parse_rfc3339
from recsys_assets.messages import printable

if TYPE_CHECKING:
    from rich.console import Console

SHORT = 12  # digits of a hash in output for people
_HASH = re.compile(rf"(?<![0-9a-f])([0-9a-f]{{{SHORT}}})[0-9a-f]{{{64 - SHORT}}}(?![0-9a-f])")
_FRACTION = re.compile(r"(\d\d:\d\d:\d\d)\.\d+Z")  # Fraction of a second. Only JSON shows it.
_INDENT = 4
_UNBOUNDED = 100_000  # columns if the output is not a terminal: lines are not wrapped
_STYLES = {
    "fresh": "green",
    "ok": "green",
    "done": "green",
    "passed": "green",
    "stale": "yellow",
    "advised": "yellow",
    "skipped": "yellow",
    "unsure": "yellow",
    "hold": "yellow",
    "held": "yellow",
    "no data": "yellow",
    "refused": "bold red",
    "failed": "bold red",
    "problem": "bold red",
}


class Stacked(msgspec.Struct, frozen=True):
    """One record for people: a heading of name, state and facts, and labelled notes below it."""

    name: str
    state: str
    facts: Sequence[str]
    notes: Sequence[tuple[str, str]] = ()


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text, with unprintable characters escaped."""
    click.echo(printable(text), err=err, nl=nl)


def print_json(document: Any) -> None:
    """Print one JSON document. Dates and times are RFC 3339, dataclasses objects."""
    echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_stacked(title: str, records: Iterable[Stacked], *, wide: bool = False) -> None:
    """Print records one below the other, readable at 80 columns. Hashes are short unless `wide`."""
    from rich.padding import Padding  # noqa: PLC0415 - late: most commands print a line, and need no rich
    from rich.text import Text  # noqa: PLC0415 - as above

    console = _console()
    if title:
        console.print(Text(title, style="bold"))
    record = None
    for record in records:
        heading = Text.assemble((plain(record.name, wide=wide), "bold"))
        for part in (record.state, *record.facts):
            if part:
                heading.append("  ").append(plain(part, wide=wide), style=style_of(part))
        console.print(heading, overflow="fold")
        for label, text in record.notes:
            note = Text.assemble((label, style_of(label) or "dim"), " " if label else "", plain(text, wide=wide))
            console.print(Padding(note, (0, 0, 0, _INDENT), expand=False), overflow="fold")
    if record is None:
        echo("(none)")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, wide: bool = False) -> None:
    """Print a table. Cells are printed as plain text, without markup. Hashes are short unless `wide`."""
    from rich.table import Table  # noqa: PLC0415 - late, as above
    from rich.text import Text  # noqa: PLC0415 - late, as above

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell := plain(value, wide=wide), style=style_of(cell)) for value in row))
    _console().print(table)
    if not rows:
        echo("(none)")


def style_of(text: str) -> str:
    """Return the rich style of a state or a verdict, empty for other text."""
    return _STYLES.get(text, "")


def short(identifier: str | None) -> str:
    """Return the first digits of a hash, or a dash for None."""
    return identifier[:SHORT] if identifier else "-"


def when(at: datetime | str, *, now: datetime) -> str:
    """Return the age of a timestamp, and the timestamp to the second with its zone."""
    whole = at if isinstance(at, datetime) else _instant_of(at)
    return str(at) if whole is None else f"{distance(now - whole)} ({instant(whole)})"


def plain(value: object, *, wide: bool = False) -> str:
    """Return a value as printable text. Unless `wide`, hashes are shortened and times cut to the second."""
    text = "-" if value is None or value == "" else str(value)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if wide else _FRACTION.sub(r"\1Z", _HASH.sub(r"\1", shown))


def _instant_of(text: str) -> datetime | None:
    try:
        return parse_rfc3339(text)
    except ConfigurationError:
        return None


def _console() -> "Console":
    """Return a console as wide as the terminal or $COLUMNS. Without either, lines are not wrapped."""
    from rich.console import Console  # noqa: PLC0415 - late, as above

    console = Console(highlight=False)
    bounded = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console if bounded else Console(highlight=False, width=_UNBOUNDED)
