"""Manifest asset of a target: proves every gate on the bytes about to ship, then moves the pointer, last of all."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.checks import check_result, whole_check_specs
from recsys_assets.dagster_defs.freshness import freshness_policy
from recsys_assets.dagster_defs.lineage import about_asset, page_of_target, stored
from recsys_assets.dagster_defs.metadata import markdown_table
from recsys_assets.dagster_defs.naming import MANIFEST, asset_key, publish_pool
from recsys_assets.dagster_defs.outcomes import translate_errors
from recsys_assets.dagster_defs.partitions import day_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.pipeline.candidate_gates import judge_whole
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.ship import ShippedDay, ship_day
from recsys_assets.release.account import this_account
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.pointer import make_pointer
from recsys_assets.release.publish import JOURNALED_BY_PUBLISH
from recsys_assets.release.releases import release_of
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import Report, to_markdown

Shown: TypeAlias = dg.AssetCheckResult | dg.MaterializeResult[Any]


def manifest_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the manifest asset; an older day, a held target or unchanged content leaves the pointer where it is."""

    @target_asset(
        settings,
        row,
        MANIFEST,
        kinds={"json"},
        deps=[asset_key(row, kind) for kind in settings.kinds_for(row)],
        check_specs=whole_check_specs(settings, row, asset_key(row, MANIFEST)),
        pool=publish_pool(row),
        code_version=code_version(release_of, make_pointer, params={"kinds": settings.kinds_for(row)}),
        about=about_asset(settings, release_of, key=pointer_key(row.target), page=page_of_target(row)),
        freshness_policy=freshness_policy(settings, row),
        description=f"What services of {row.target} read: one small pointer, swapped when all of a day has passed.",
    )
    def manifest(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        timer = Timer()
        day = day_of(context)
        by = Actor(name=this_account(), reason=f"build of {day}", run_id=context.run.run_id)
        with attempt(context, store.store, [row], step=MANIFEST):
            reports = judge_whole(store.day_context(context, settings, row))
        # Before the swap, so that the results of gates are seen also when nothing ships.
        yield from (check_result(report, name=report.subject) for report in reports)
        with attempt(context, store.store, [row], step=MANIFEST, besides=JOURNALED_BY_PUBLISH):
            shipped = ship_day(store.day_context(context, settings, row), by=by)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(shipped.release_id),
            metadata={
                **timer.numbers(shipped.numbers),
                **stored(store.store, pointer_key(row.target)),
                "artifacts": markdown_table(("kind", "version", "bytes"), shipped.artifact_rows),
                "report": dg.MetadataValue.md(to_markdown(_report(store.reads(context), row, shipped))),
            },
        )

    return manifest


def _report(store: ObjectStore, row: TargetSettings, shipped: ShippedDay) -> Report:
    release = shipped.outcome.release
    with translate_errors():  # the store may go away after the swap: the retry finds it done, and records it
        return report_release(store, row.target, release, live=shipped.outcome.live == release.id)
