"""Assets of imports: one per kind that another team builds, a dropped file in, an immutable blob out."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.checks import gate_check
from recsys_assets.dagster_defs.lineage import about_asset, import_source, observe, page_of_target, stored
from recsys_assets.dagster_defs.metadata import markdown_table
from recsys_assets.dagster_defs.partitions import day_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.imports.inspecting import inspect
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.imported import find_staged, import_day, judge_import
from recsys_assets.pipeline.journal_import import journal_import
from recsys_assets.release.account import this_account
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def import_asset(settings: Settings, store: RunStore, row: TargetSettings, kind: str) -> dg.AssetsDefinition:
    """Return the asset of one imported kind; its data version is the hash of the file."""
    rules = settings.imports[kind]

    @target_asset(
        settings,
        row,
        kind,
        kinds={rules.form},
        tags={"recsys/kind": kind},
        deps=[import_source(row, kind)],
        code_version=code_version(inspect, params={"format": rules.format.value, "contract": dict(rules.contract)}),
        about=about_asset(
            settings, inspect, key=f"artifacts/{row.tenant}/{row.surface}/{kind}", page=page_of_target(row)
        ),
        description=f"Built elsewhere: a {rules.format.value} file a day, dropped at {rules.path}.",
    )
    def imported(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        timer = Timer()
        with attempt(context, store.store, [row], step=kind):
            day, run_id = day_of(context), context.run.run_id
            before = find_staged(store.store, row, kind, day)
            built = import_day(store.day_context(context, settings, row), kind)
            if before != built.staged.ref:  # refusals are journaled by the check, results with the ship
                by = Actor(name=this_account(), reason=f"build of {day}", run_id=run_id)
                journal_import(store.store, row.target, built.staged.ref, day, by=by, now=datetime.now(UTC))
        ref, rows = built.staged.ref, built.staged.facts.get("rows")
        rows = rows if isinstance(rows, int) else None
        observe(context, import_source(row, kind), built.staged.inputs, digest=ref.version, numbers={"rows": rows})
        return dg.MaterializeResult(
            data_version=dg.DataVersion(built.staged.ref.version),
            metadata={
                **timer.numbers(built.numbers),
                **stored(store.store, blob_key(row.target, ref.kind, ref.version), rows=rows),
                "fields": markdown_table(built.preview.columns, built.preview.rows()),
            },
        )

    return imported


def import_check(settings: Settings, store: RunStore, row: TargetSettings, kind: str) -> dg.AssetChecksDefinition:
    """Return the blocking check of one imported kind."""
    return gate_check(
        settings,
        store,
        row,
        kind,
        judge=lambda day: judge_import(day, kind),
        description="Form, contract, compatibility with the live one, rows, size and age of the stored file.",
    )
