"""Lineage metadata of assets (URIs, columns, code), and external assets for data outside the graph."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import dagster as dg
import polars as pl

from recsys_assets.dagster_defs.metadata import Metadata, markdown_table
from recsys_assets.dagster_defs.naming import daily_partitions
from recsys_assets.evidence import Scalar
from recsys_assets.pipeline.code_version import source_of
from recsys_assets.release.documents import Input
from recsys_assets.release.layout import uri_of_key
from recsys_assets.settings.inputs import TABLES
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

GROUP: Final = "external"
"""Group of assets owned by others: raw events, catalog, dropped files, the signals' database."""

_API_PAGE: Final = "read API"


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
