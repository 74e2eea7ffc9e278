"""The canonical asset of a target: this day's events of this target, one row per fact, in one total order."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.metadata import markdown_table
from recsys_assets.dagster_defs.naming import CANONICAL, asset_key
from recsys_assets.dagster_defs.outcomes import skipped
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.errors import NoInputError
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def canonical_asset(settings: Settings, row: TargetSettings, *, raw: dg.AssetKey) -> dg.AssetsDefinition:
    """Return the canonical asset, after `raw`; a day without events for the target is skipped, what is live stays."""
    key = asset_key(row, CANONICAL)

    @target_asset(
        settings,
        row,
        CANONICAL,
        kinds={"polars", "parquet"},
        deps=[raw],
        output_required=False,
        description=f"Events of {row.target}: trimmed, of this day only, exact duplicates dropped, in one total order.",
    )
    def canonical(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult[Any]]:
        timer = Timer()
        with attempt(context, store.store, [row], step=CANONICAL):
            try:
                day = build_canonical(store.day_context(context, settings, row))
            except NoInputError as error:
                skipped(context, key, error)
                return
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(day.record.digest),
            metadata={
                **timer.numbers(day.numbers),
                "first rows": markdown_table(day.preview.columns, day.preview.rows()),
            },
        )

    return canonical
