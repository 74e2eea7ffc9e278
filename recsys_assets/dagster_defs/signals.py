"""The signals asset of a target: after the manifest, the day's rows for services that read a database."""

from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.metadata import numbers
from recsys_assets.dagster_defs.naming import MANIFEST, asset_key, asset_tags, group_name, owner
from recsys_assets.dagster_defs.outcomes import translate_errors
from recsys_assets.dagster_defs.partitions import daily_partitions, day_of
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.pipeline.signals import write_signals
from recsys_assets.release.account import this_account
from recsys_assets.release.journal import Actor
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

SIGNALS = "signals"


def signals_asset(settings: Settings, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the signals asset; it proves the gates again, so that launched alone it is never ahead of them."""

    @dg.asset(
        key=asset_key(row, SIGNALS),
        group_name=group_name(row),
        deps=[asset_key(row, MANIFEST)],
        partitions_def=daily_partitions(settings.partitions),
        kinds={"postgres"},
        owners=list(settings.owners),
        metadata=owner(row),
        tags=asset_tags(row),
        description=f"The artifacts of {row.target} as rows of a database: one transaction a day.",
    )
    def signals(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult[Any]:
        started = perf_counter()
        day = day_of(context)
        by = Actor(name=this_account(), reason=f"signals of {day}", run_id=context.run.run_id)
        with translate_errors():
            done = write_signals(store.store, settings, row, day, by=by, now=lambda: datetime.now(UTC))
        return dg.MaterializeResult(metadata=numbers({"seconds": perf_counter() - started, **done.numbers}))

    return signals
