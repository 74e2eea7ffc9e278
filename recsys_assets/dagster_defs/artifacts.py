"""The artifact assets of a target: one per kind, canonical days in, one immutable blob and its reference out."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.canonical import ensure_canonical
from recsys_assets.dagster_defs.lineage import about_asset, observe, page_of_target, stored
from recsys_assets.dagster_defs.metadata import markdown_table
from recsys_assets.dagster_defs.naming import CANONICAL, asset_key
from recsys_assets.dagster_defs.outcomes import skipped
from recsys_assets.dagster_defs.partitions import rolling_window
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.encoding.codec import encode_content
from recsys_assets.encoding.embeddings import VectorShape
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.errors import NoInputError
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import Kind
from recsys_assets.pipeline.artifact import ArtifactBuilt, build_artifact
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.release.layout import blob_key
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

_ENGINES: Final[dict[str, str]] = {"native": "numba"}  # icons of the UI; other engines go by their own names


def artifact_asset(
    settings: Settings, store: RunStore, row: TargetSettings, kind: Kind, params: KindParams, *, catalog: dg.AssetKey
) -> dg.AssetsDefinition:
    """Return the asset of one artifact kind; its data version is the artifact's, so equal content is unchanged."""
    engine = params.engine or row.engine or settings.artifacts.engine

    @target_asset(
        settings,
        row,
        kind.name,
        kinds={_format(kind), _ENGINES.get(engine, engine)},
        tags={"recsys/kind": kind.name},
        deps=[
            dg.AssetDep(asset_key(row, CANONICAL), partition_mapping=rolling_window(params.window_days)),
            *([catalog] if kind.from_catalog and settings.raw.catalog else []),
        ],
        code_version=code_version(kind.kernel, encode_content, params=_parameters(params)),
        about=about_asset(
            settings,
            kind.kernel,
            key=f"artifacts/{row.tenant}/{row.surface}/{kind.name}",
            columns=kind.columns,
            page=page_of_target(row),
        ),
        output_required=False,
        description=kind.description.summary,
    )
    def artifact(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[Any]]:
        timer = Timer()
        with attempt(context, store.store, [row], step=kind.name):
            try:
                ensure_canonical(context, store, settings, row)
            except NoInputError as error:
                skipped(context, asset_key(row, kind.name), error)
                return
            engines = EngineRegistry(settings.resolved_engines, store.store.root_uri)
            built = build_artifact(replace(store.day_context(context, settings, row), engines=engines), kind.name)
        ref = built.staged.ref
        if kind.from_catalog and settings.raw.catalog:
            digests = "".join(one.digest for one in built.staged.inputs)
            observe(context, catalog, built.staged.inputs, digest=digests, daily=False)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(built.staged.ref.version),
            metadata={
                **timer.numbers(built.numbers),
                **stored(store.store, blob_key(row.target, ref.kind, ref.version), rows=_rows(built)),
                "top rows": markdown_table(built.preview.columns, built.preview.rows()),
            },
        )

    return artifact


def _parameters(params: KindParams) -> dict[str, Any]:
    """Return the parameters that reach the bytes: limits only refuse them, and every engine makes the same."""
    kept = params.model_dump(mode="json", exclude={"min_days", "max_bytes"})
    return {**kept, "shards": params.shards, "single_blob": params.single_blob}


def _rows(built: ArtifactBuilt) -> int | None:
    rows = built.staged.facts.get("rows")
    return rows if isinstance(rows, int) else None


def _format(kind: Kind) -> str:
    """Return the format of the stored artifact, as the UI shows it."""
    return "safetensors" if isinstance(kind.shape, VectorShape) else "json"
