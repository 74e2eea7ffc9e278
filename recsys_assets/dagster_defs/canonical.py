"""The canonical asset of a target: this day's events of this target, one row per fact, in one total order."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from recsys_assets.dagster_defs.asset_factory import Timer, target_asset
from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.lineage import about_asset, page_of_target, stored
from recsys_assets.dagster_defs.metadata import markdown_table
from recsys_assets.dagster_defs.naming import CANONICAL, asset_key
from recsys_assets.dagster_defs.outcomes import skipped
from recsys_assets.dagster_defs.partitions import day_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import NoInputError, RefusedError
from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.events import ID_COLUMNS, SCHEMA
from recsys_assets.events.parquet import encode_events
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.overrides import way_out
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_key, canonical_record_key, raw_record_key
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def canonical_asset(
    settings: Settings, store: RunStore, row: TargetSettings, *, raw: dg.AssetKey
) -> dg.AssetsDefinition:
    """Return the canonical asset, after `raw`; a day without events for the target is skipped, what is live stays."""
    key = asset_key(row, CANONICAL)

    @target_asset(
        settings,
        row,
        CANONICAL,
        kinds={"polars", "parquet"},
        deps=[raw],
        code_version=code_version(
            canonicalize, encode_events, params={"session_gap_minutes": settings.raw.session_gap_minutes}
        ),
        about=about_asset(
            settings,
            canonicalize,
            key=f"canonical/{row.tenant}/{row.surface}",
            columns={name: pl.String() if name in ID_COLUMNS else dtype for name, dtype in SCHEMA.items()},
            page=page_of_target(row),
        ),
        output_required=False,
        description=f"Events of {row.target}: trimmed, of this day only, exact duplicates dropped, in one total order.",
    )
    def canonical(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        timer = Timer()
        with attempt(context, store.store, [row], step=CANONICAL):
            try:
                ensure_raw(context, store, settings)
                day = build_canonical(store.day_context(context, settings, row))
            except NoInputError as error:
                skipped(context, key, error)
                return
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(day.record.digest),
            metadata={
                **timer.numbers(day.numbers),
                **stored(store.store, canonical_key(row.target, day_of(context)), rows=day.record.rows),
                "first rows": markdown_table(day.preview.columns, day.preview.rows()),
            },
        )

    return canonical


def ensure_canonical(
    context: dg.AssetExecutionContext, store: RunStore, settings: Settings, row: TargetSettings
) -> None:
    """Build and judge the canonical day if no run has done so: a kind that is selected alone needs it.

    Raises `NoInputError` for a day without events, `RefusedError` if a gate refuses the day.
    """
    day = store.day_context(context, settings, row)
    if find_document(day.store, canonical_record_key(row.target, day.day), CanonicalRecord) is not None:
        return
    context.log.info("%s of %s was not selected and never built: this step builds it", CANONICAL, day.day)
    ensure_raw(context, store, settings)
    build_canonical(day)
    report = judge_canonical(day)
    if not report.passed:
        refused = [(CANONICAL, finding.gate) for finding in report.refusals]
        way = way_out(settings, row, day.day, refused)
        raise RefusedError(f"{CANONICAL} of {day.day}: {'; '.join((*report.refused_because, way))}", refused=refused)


def ensure_raw(context: dg.AssetExecutionContext, store: RunStore, settings: Settings) -> None:
    """Read the raw files of the day if no run has done so: `raw` is in another group, and may not be selected.

    A day that was read before is left as it is: what changed since is for `raw` itself. Raises `NoInputError` for a
    day without a file, as `raw` does.
    """
    day, reads = day_of(context), store.reads(context)
    if reads.stat(raw_record_key(day)) is None:
        context.log.info("raw of %s was not selected and never built: its files are read by this step", day)
        build_raw(reads, settings, day)
