"""Signals asset of a target: after the manifest, the day's rows for services that read a database."""

from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.lineage import about_asset, observe, page_of_target, signals_database
from recsys_assets.dagster_defs.naming import MANIFEST, asset_key
from recsys_assets.dagster_defs.outcomes import translate_errors
from recsys_assets.dagster_defs.partitions import day_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.signals import write_signals
from recsys_assets.postgres.replacing import replace_rows
from recsys_assets.release.account import this_account
from recsys_assets.release.journal import Actor
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

SIGNALS = "signals"


def signals_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the signals asset; it proves the gates again, so that launched alone it is never ahead of them."""

    @target_asset(
        settings,
        row,
        SIGNALS,
        kinds={"postgres"},
        deps=[asset_key(row, MANIFEST)],
        code_version=code_version(replace_rows, params=settings.signals.model_dump(mode="json")),
        about=about_asset(settings, write_signals, key=None, page=page_of_target(row)),
        description=f"The artifacts of {row.target} as rows of a database: one transaction a day.",
    )
    def signals(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        timer = Timer()
        day = day_of(context)
        by = Actor(name=this_account(), reason=f"signals of {day}", run_id=context.run.run_id)
        with translate_errors():
            done = write_signals(store.day_context(context, settings, row), by=by)
        observe(context, signals_database(row), (), numbers=done.numbers)
        return dg.MaterializeResult(metadata=timer.numbers(done.numbers))

    return signals
