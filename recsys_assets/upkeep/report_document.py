"""A report for people: facts, then sections of sentences and tables; and the same report as Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recsys_assets.evidence import Scalar

MAX_TEXT: Final = 1000  # characters of a sentence or cell; what is longer is cut: no message makes it unreadable
_MARKUP: Final = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)[_#]|_(?!\w)")  # an underscore inside a word means itself


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report: sentences, and a table below them (without columns: none)."""

    title: str
    message: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Scalar, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A title, what it is about as (name, value), and its sections in the order in which they are read."""

    title: str
    facts: tuple[tuple[str, Scalar], ...]
    sections: tuple[Section, ...]


def to_markdown(report: Report) -> str:
    """Return the report as Markdown, every value as text: no id can become a tag, a cell or emphasis."""
    parts = [f"# {_text(report.title)}", _list([f"{name}: {shown(value)}" for name, value in report.facts])]
    for section in report.sections:
        parts.append(f"## {_text(section.title)}")
        if section.message:
            parts.append(_list(section.message))
        if section.columns and section.rows:
            parts.append(_table(section.columns, section.rows))
    return "\n\n".join(parts) + "\n"


def shown(value: Scalar) -> str:
    """Return a value as people read it: whole numbers grouped, others in four digits, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:.4g}" if isinstance(value, float) else value
    text = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_text(shown(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", shown(text))
