"""The manifest asset of a target: proves every gate on the bytes about to ship, then moves the pointer, last of all."""

from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.defs.freshness import freshness_policy
from recsys_assets.defs.metadata import markdown_table, numbers
from recsys_assets.defs.naming import MANIFEST, asset_key, asset_tags, group_name, publish_pool
from recsys_assets.defs.outcomes import told_to_dagster
from recsys_assets.defs.partitions import daily_partitions, day_of
from recsys_assets.defs.resources import StoreResource
from recsys_assets.manifest.account import this_account
from recsys_assets.manifest.journal import Actor
from recsys_assets.stages.ship import ship_day


def manifest_asset(settings: Settings, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the manifest asset; an older day, a held target or unchanged content leaves the pointer where it is."""

    @dg.asset(
        key=asset_key(row, MANIFEST),
        group_name=group_name(row),
        deps=[asset_key(row, kind) for kind in settings.artifacts.kinds],
        partitions_def=daily_partitions(settings.partitions),
        kinds={"json"},
        owners=list(settings.owners),
        tags=asset_tags(row),
        pool=publish_pool(row),
        freshness_policy=freshness_policy(settings, row),
        description=f"What services of {row.target} read: one small pointer, swapped when all of a day has passed.",
    )
    def manifest(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult[Any]:
        started = perf_counter()
        day = day_of(context)
        by = Actor(name=this_account(), reason=f"build of {day}", run_id=context.run.run_id)
        with told_to_dagster():
            shipped = ship_day(store.store, settings, row, day, by=by, now=lambda: datetime.now(UTC))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(shipped.release_id),
            metadata={
                **numbers({"seconds": perf_counter() - started, **shipped.numbers}),
                "artifacts": markdown_table(("kind", "version", "bytes"), shipped.artifact_rows),
            },
        )

    return manifest
