"""Metadata of assets and checks with the same keys everywhere, their lineage, and assets outside the graph."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import dagster as dg
import polars as pl

from recsys_assets.dagster_defs.naming import daily_partitions
from recsys_assets.evidence import Finding, GateReport, Scalar, Verdict
from recsys_assets.pipeline.code_version import source_of
from recsys_assets.release.documents import Input
from recsys_assets.release.layout import uri_of_key
from recsys_assets.settings.inputs import TABLES
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

MAX_SAMPLE_ROWS = 50
MAX_CELL_CHARACTERS = 200
MAX_SHORT = 24  # characters of a value or a limit in a table of gates

Metadata = dict[str, dg.MetadataValue[Any]]
GROUP: Final = "external"
"""Group of assets owned by others: raw events, catalog, dropped files, the signals' database."""

_API_PAGE: Final = "read API"


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


def exposures_source(name: str = "") -> dg.AssetKey:
    """Return the key of the external raw events of the graph `name`."""
    return dg.AssetKey([GROUP, *filter(None, [name]), "exposures"])


def catalog_source(name: str = "") -> dg.AssetKey:
    """Return the key of the external catalog of the graph `name`."""
    return dg.AssetKey([GROUP, *filter(None, [name]), "catalog"])


def import_source(row: TargetSettings, kind: str) -> dg.AssetKey:
    """Return the key of the drop folder of an imported kind of a target."""
    return dg.AssetKey([GROUP, "imports", *row.slug_parts, kind])


def signals_database(row: TargetSettings) -> dg.AssetKey:
    """Return the key of a target's rows in the signals' database."""
    return dg.AssetKey([GROUP, "signals", *row.slug_parts])


def external_assets(
    settings: Settings, rows: Sequence[TargetSettings], *, signals: str, name: str = ""
) -> list[dg.AssetSpec]:
    """Return specs of the data that the graph reads or writes but does not own. `signals` names the writing asset."""
    raw = settings.raw
    about = "Raw exposure events, as others write them."
    assets = [_external(settings, exposures_source(name), about, raw.exposures, daily=True)]
    if raw.catalog:
        assets.append(
            _external(settings, catalog_source(name), "The catalog of items, as others write it.", raw.catalog)
        )
    for row in rows:
        for kind, rules in settings.imports_for(row).items():
            about = f"Files of {kind} for {row.target}, as another team drops them."
            assets.append(_external(settings, import_source(row, kind), about, rules.path, daily=True))
        if settings.signals.write:
            about = f"Rows of {row.target} in the database that services read."
            written = [dg.AssetKey([*row.slug_parts, signals])]
            assets.append(_external(settings, signals_database(row), about, "", daily=True, deps=written))
    return assets


def _external(
    settings: Settings, key: dg.AssetKey, about: str, path: str, *, daily: bool = False, deps: Sequence[Any] = ()
) -> dg.AssetSpec:
    uri = path if "://" in path or path.startswith(TABLES) else settings.resolve(path)
    return dg.AssetSpec(
        key,
        group_name=GROUP,
        description=about,
        owners=list(settings.owners),
        deps=deps,
        metadata={"dagster/uri": uri} if path else {},
        partitions_def=daily_partitions(settings.partitions) if daily else None,
    )


def observe(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    inputs: Sequence[Input],
    *,
    digest: str | None = None,
    daily: bool = True,
    numbers: Mapping[str, Scalar] | None = None,
) -> None:
    """Record an observation of an external asset: its files with digests and sizes, and its data version."""
    rows = [(file.name, file.digest, file.size) for file in inputs]
    metadata = {name: value for name, value in (numbers or {}).items() if value is not None}
    context.log_event(
        dg.AssetObservation(
            asset_key=key,
            partition=context.partition_key if daily else None,
            metadata={"files": markdown_table(("file", "digest", "bytes"), rows), **metadata},
            tags={"dagster/data_version": digest} if digest else None,
        )
    )


def about_asset(
    settings: Settings,
    function: Callable[..., Any],
    *,
    key: str | None,
    columns: Mapping[str, pl.DataType] | None = None,
    page: str = "",
) -> dict[str, Any]:
    """Return the metadata of an asset definition: URI, columns, code reference, and page of the read API."""
    file, line = source_of(function)
    with warnings.catch_warnings():  # the classes are in beta, the metadata key is not: the warning is not actionable
        warnings.simplefilter("ignore", dg.BetaWarning)
        code = dg.CodeReferencesMetadataValue(
            code_references=[dg.LocalFileCodeReference(file_path=file, line_number=line)]
        )
    metadata: dict[str, Any] = {"dagster/code_references": code}
    if key is not None:
        root = settings.resolve(settings.storage.root)
        metadata["dagster/uri"] = uri_of_key(root if "://" in root else f"file://{root}", key)
    if columns is not None:
        named = [dg.TableColumn(name=name, type=str(dtype)) for name, dtype in columns.items()]
        metadata["dagster/column_schema"] = dg.TableSchema(columns=named)
    if settings.api.url:
        metadata[_API_PAGE] = dg.MetadataValue.url(settings.api.url.rstrip("/") + page)
    return metadata


def page_of_target(row: TargetSettings) -> str:
    """Return the path of a target's page in the read API."""
    return f"/targets/{quote(row.tenant, safe='')}/{quote(row.surface, safe='')}"


def stored(store: ObjectStore, key: str, *, rows: int | None = None) -> Metadata:
    """Return the metadata of a materialization: its URI and number of rows."""
    uri = uri_of_key(store.root_uri, key)
    counted: Metadata = {} if rows is None else {"dagster/partition_row_count": dg.MetadataValue.int(rows)}
    if rows is not None:
        counted["dagster/row_count"] = dg.MetadataValue.int(rows)
    return {"dagster/uri": dg.MetadataValue.text(uri), **counted}
