"""Metadata of assets and checks, with the same keys everywhere, so that the UI plots them consistently."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from recsys_assets.evidence import Finding, GateReport, Scalar, Verdict

MAX_SAMPLE_ROWS = 50
MAX_CELL_CHARACTERS = 200
MAX_SHORT = 24  # characters of a value or a limit in a table of gates

Metadata = dict[str, dg.MetadataValue[Any]]


def numbers(values: Mapping[str, Scalar]) -> Metadata:
    """Return scalars as metadata: numbers are plotted over partitions, all else is text."""
    return {key: _scalar(value) for key, value in values.items() if value is not None}


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Scalar]]) -> dg.MarkdownMetadataValue:
    """Return rows as a Markdown table. Cells are escaped and truncated, so that no id breaks the table."""
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    return dg.MetadataValue.md(head + "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows))


def gate_metadata(report: GateReport) -> Metadata:
    """Return a report as check metadata: one row per gate, a sample of offending rows, and every number by name."""
    plotted = {f"gate/{f.gate}": f.value for f in report.findings if isinstance(f.value, (int, float))}
    metadata: Metadata = {
        "gates": dg.MetadataValue.table([_gate_row(f) for f in sorted(report.findings, key=_by_verdict)]),
        "version": dg.MetadataValue.text(report.version),
        "policy": dg.MetadataValue.text(report.policy),
        "refused": dg.MetadataValue.int(len(report.refusals)),
        **numbers(plotted),
        **numbers(report.facts),
    }
    sample = [{"gate": f.gate, **row} for f in report.findings for row in f.sample][:MAX_SAMPLE_ROWS]
    if sample:
        metadata["sample"] = dg.MetadataValue.md(_sample_table(sample))
    return metadata


def _by_verdict(finding: Finding) -> int:
    """Return the sort key of a finding: refused first, then advised, then passed."""
    return (Verdict.REFUSED, Verdict.ADVISED, Verdict.PASSED).index(finding.verdict)


def _gate_row(finding: Finding) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "gate": finding.gate,
            "verdict": finding.verdict.value,
            "message": finding.message,  # before wide columns, because pages cut tables at the right edge
            "value": _short(finding.value),
            "limits": ", ".join(f"{key}={_short(value)}" for key, value in finding.params.items()),
            "offending rows": finding.count,
        },
    )


def _short(value: Scalar) -> str:
    """Return a value shortened for a table. The full value is in its own metadata entry or in the report."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_SHORT else f"{text[: MAX_SHORT - 1]}…"


def _sample_table(rows: Sequence[Mapping[str, Scalar]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return markdown_table(columns, [[row.get(column) for column in columns] for row in rows]).value or ""


def _scalar(value: Scalar) -> dg.MetadataValue[Any]:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    return dg.MetadataValue.text(str(value))


def _cell(value: Scalar) -> str:
    text = "" if value is None else str(value)
    text = text if len(text) <= MAX_CELL_CHARACTERS else text[: MAX_CELL_CHARACTERS - 1] + "…"
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    for char in "\\`*_{}[]()<>#|~":
        shown = shown.replace(char, f"\\{char}")
    return shown
