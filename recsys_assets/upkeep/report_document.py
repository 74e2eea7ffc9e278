"""Model of a report (facts, then sections of sentences and tables) and its rendering as Markdown."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from recsys_assets.evidence import Scalar

MAX_TEXT: Final = 1000  # Characters of a sentence or cell. Longer text is cut to keep reports readable.
_MARKUP: Final = re.compile(r"[\\`*\[\]<>|~]|(?<!\w)[_#]|_(?!\w)")  # an underscore inside a word is literal


class Section(msgspec.Struct, frozen=True):
    """Section of a report: sentences, then a table (none without columns)."""

    title: str
    message: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Scalar, ...], ...] = ()


class Report(msgspec.Struct, frozen=True):
    """Report: title, facts as (name, value), and sections in reading order."""

    title: str
    facts: tuple[tuple[str, Scalar], ...]
    sections: tuple[Section, ...]


def to_markdown(report: Report) -> str:
    """Return the report as Markdown with every value escaped: no id can become a tag, a cell or emphasis."""
    parts = [f"# {_text(report.title)}", _list([f"{name}: {shown(value)}" for name, value in report.facts])]
    for section in report.sections:
        parts.append(f"## {_text(section.title)}")
        if section.message:
            parts.append(_list(section.message))
        if section.columns and section.rows:
            parts.append(_table(section.columns, section.rows))
    return "\n\n".join(parts) + "\n"


def shown(value: Scalar) -> str:
    """Return a value as displayed: integers with thousands separators, floats with four digits, None as a dash."""
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
