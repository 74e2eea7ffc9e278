"""The artifact assets of a target: one per kind, canonical days in, one immutable blob and its reference out."""

from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.metadata import markdown_table, numbers
from recsys_assets.dagster_defs.naming import CANONICAL, asset_key, asset_tags, group_name, owner
from recsys_assets.dagster_defs.partitions import daily_partitions, day_of, rolling_window
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.dagster_defs.spark import SparkResource
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import Kind
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def artifact_asset(settings: Settings, row: TargetSettings, kind: Kind, params: KindParams) -> dg.AssetsDefinition:
    """Return the asset of one artifact kind; its data version is the artifact's, so equal content is unchanged."""

    @dg.asset(
        key=asset_key(row, kind.name),
        group_name=group_name(row),
        deps=[dg.AssetDep(asset_key(row, CANONICAL), partition_mapping=rolling_window(params.window_days))],
        partitions_def=daily_partitions(settings.partitions),
        kinds={"json", "numba"},
        owners=list(settings.owners),
        metadata=owner(row),
        tags=asset_tags(row) | {"recsys/kind": kind.name},
        description=kind.description.summary,
    )
    def artifact(
        context: dg.AssetExecutionContext, store: StoreResource, spark: SparkResource
    ) -> dg.MaterializeResult[Any]:
        started, day, run_id = perf_counter(), day_of(context), context.run.run_id
        with attempt(context, store.store, [row], step=kind.name):
            room = spark.room(settings.resolved_engines, store.store)
            built = build_artifact(store.store, settings, row, kind.name, day, run_id=run_id, room=room)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.staged.ref.version),
            metadata={
                **numbers({"seconds": perf_counter() - started, **built.numbers}),
                "top rows": markdown_table(built.preview.columns, built.preview.rows()),
            },
        )

    return artifact
