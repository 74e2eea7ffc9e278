"""Output of commands: tables for people, or one JSON document for programs."""

import re
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

SHORT = 12  # digits of a hash that people are shown
_WIDTH = 160


def print_json(document: Any) -> None:
    """Print one JSON document; dates and instants as RFC 3339, frozen values as objects."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns; cells hold plain text, whatever they hold."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    console = Console(width=None if Console().is_terminal else _WIDTH)
    console.print(table)
    if not rows:
        click.echo("(none)")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 day, 2 days, 3 entries."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("ry") else f"{count:,} {noun}s"


def short(identifier: str | None) -> str:
    """Return the beginning of a hash, or a dash for none."""
    return identifier[:SHORT] if identifier else "-"


def to_the_second(instant: str) -> str:
    """Return an RFC 3339 instant without its fraction, for people; JSON keeps all of it."""
    return re.sub(r"\.\d+", "", instant, count=1)


def _cell(value: object) -> str:
    text = "-" if value is None or value == "" else str(value)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
