"""The assets of what other teams build: one per imported kind, a dropped file in, an immutable blob out."""

from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.defs.attempts import attempt
from recsys_assets.defs.checks import gate_check
from recsys_assets.defs.metadata import markdown_table, numbers
from recsys_assets.defs.naming import asset_key, asset_tags, group_name, owner
from recsys_assets.defs.partitions import daily_partitions, day_of
from recsys_assets.defs.resources import StoreResource
from recsys_assets.stages.imported import import_day, judge_import


def import_asset(settings: Settings, row: TargetSettings, kind: str) -> dg.AssetsDefinition:
    """Return the asset of one imported kind; its data version is the hash of the file."""
    rules = settings.imports[kind]

    @dg.asset(
        key=asset_key(row, kind),
        group_name=group_name(row),
        partitions_def=daily_partitions(settings.partitions),
        kinds={rules.form},
        owners=list(settings.owners),
        metadata=owner(row),
        tags=asset_tags(row) | {"recsys/kind": kind},
        description=f"Built elsewhere: a {rules.format.value} file a day, dropped at {rules.path}.",
    )
    def imported(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult[Any]:
        started = perf_counter()
        with attempt(context, store.store, [row], step=kind):
            built = import_day(store.store, settings, row, kind, day_of(context), run_id=context.run.run_id)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.staged.ref.version),
            metadata={
                **numbers({"seconds": perf_counter() - started, **built.numbers}),
                "fields": markdown_table(built.preview.columns, built.preview.rows()),
            },
        )

    return imported


def import_check(settings: Settings, row: TargetSettings, kind: str) -> dg.AssetChecksDefinition:
    """Return the blocking check of one imported kind."""
    return gate_check(
        settings,
        row,
        kind,
        judge=lambda store, day: judge_import(store, settings, row, kind, day),
        description="Form, contract, compatibility with the live one, rows, size and age of the stored file.",
    )
