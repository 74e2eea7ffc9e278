"""Assets of a target, from canonical to signals: each wraps a step of the day with its Dagster metadata."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import dagster as dg
import polars as pl
from msgspec.structs import replace

from recsys_assets.dagster_defs.asset_factory import Timer, check_result, target_asset, whole_check_specs
from recsys_assets.dagster_defs.attempts import attempt, skipped, translate_errors
from recsys_assets.dagster_defs.lineage import (
    about_asset,
    import_source,
    markdown_table,
    observe,
    page_of_target,
    signals_database,
    stored,
)
from recsys_assets.dagster_defs.naming import asset_key, publish_pool, rolling_window
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.encoding.codec import encode_content
from recsys_assets.encoding.safetensors_codec import VectorShape
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.errors import NoInputError, RefusedError
from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.event_files import encode_events
from recsys_assets.events.events import ID_COLUMNS, SCHEMA
from recsys_assets.evidence import CANONICAL
from recsys_assets.imports.inspecting import inspect
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import Kind
from recsys_assets.pipeline.arrivals import changed_inputs
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.overrides import way_out
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.signals import write_signals
from recsys_assets.pipeline.steps import (
    MANIFEST,
    OUTCOMES,
    SIGNALS,
    BuiltStep,
    JudgedStep,
    Step,
    artifact_step,
    canonical_step,
    import_step,
    manifest_step,
    outcomes_step,
    signals_step,
)
from recsys_assets.postgres.replacing import replace_rows
from recsys_assets.quality.exposures import rates
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key, pointer_key, raw_record_key
from recsys_assets.release.pointer import make_pointer
from recsys_assets.release.releases import release_of
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import to_markdown

Shown: TypeAlias = dg.AssetCheckResult | dg.MaterializeResult[Any]

_ENGINES: Final[dict[str, str]] = {"native": "numba"}  # UI icons. Other engines use their own names.


def canonical_asset(
    settings: Settings, store: RunStore, row: TargetSettings, *, raw: dg.AssetKey
) -> dg.AssetsDefinition:
    """Return the canonical asset, downstream of `raw`. A day without events of the target is skipped."""
    step = canonical_step()

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
    def canonical(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        day = store.day_context(context, settings, row)
        yield from _build(context, step, day, prepare=lambda: _ensure_raw(context, day))

    return canonical


def artifact_asset(
    settings: Settings, store: RunStore, row: TargetSettings, kind: Kind, params: KindParams, *, catalog: dg.AssetKey
) -> dg.AssetsDefinition:
    """Return the asset of one artifact kind. Its data version is the artifact's, so equal content is unchanged."""
    step = artifact_step(kind.name)
    engine = params.engine or row.engine or settings.artifacts.engine
    form = "safetensors" if isinstance(kind.shape, VectorShape) else "json"
    reads_catalog = kind.from_catalog and settings.raw.catalog

    def record_inputs(context: dg.AssetExecutionContext, built: BuiltStep) -> None:
        observe(context, catalog, built.inputs, digest="".join(used.digest for used in built.inputs), daily=False)

    @target_asset(
        settings,
        row,
        kind.name,
        kinds={form, _ENGINES.get(engine, engine)},
        tags={"recsys/kind": kind.name},
        deps=[
            dg.AssetDep(asset_key(row, CANONICAL), partition_mapping=rolling_window(params.window_days)),
            *([catalog] if reads_catalog else []),
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
    def artifact(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        engines = EngineRegistry(settings.resolved_engines, store.store.root_uri)
        day = replace(store.day_context(context, settings, row), engines=engines)
        yield from _build(
            context,
            step,
            day,
            prepare=lambda: _ensure_canonical(context, day),
            record_inputs=record_inputs if reads_catalog else None,
        )

    return artifact


def import_asset(settings: Settings, store: RunStore, row: TargetSettings, kind: str) -> dg.AssetsDefinition:
    """Return the asset of one imported kind. Its data version is the hash of the file."""
    step, rules = import_step(kind), settings.imports[kind]

    def record_inputs(context: dg.AssetExecutionContext, built: BuiltStep) -> None:
        numbers = {"rows": built.rows}
        observe(context, import_source(row, kind), built.inputs, digest=built.version, numbers=numbers)

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
    def imported(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        yield from _build(context, step, store.day_context(context, settings, row), record_inputs=record_inputs)

    return imported


def manifest_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the manifest asset. An older day, a hold or unchanged content leaves the pointer unchanged."""
    kinds = settings.kinds_for(row)
    step = manifest_step(kinds)

    @target_asset(
        settings,
        row,
        MANIFEST,
        kinds={"json"},
        deps=[asset_key(row, kind) for kind in kinds],
        check_specs=whole_check_specs(settings, row, asset_key(row, MANIFEST)),
        pool=publish_pool(row),
        code_version=code_version(release_of, make_pointer, params={"kinds": kinds}),
        about=about_asset(settings, release_of, key=pointer_key(row.target), page=page_of_target(row)),
        description=f"Pointer that services of {row.target} read, swapped when a day has passed all gates.",
    )
    def manifest(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        yield from _build(context, step, store.day_context(context, settings, row))

    return manifest


def signals_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the signals asset. It checks the gate reports again, in case it is launched alone."""
    step = signals_step()

    @target_asset(
        settings,
        row,
        SIGNALS,
        kinds={"postgres"},
        deps=[asset_key(row, MANIFEST)],
        code_version=code_version(replace_rows, params=settings.signals.model_dump(mode="json")),
        about=about_asset(settings, write_signals, key=None, page=page_of_target(row)),
        description=f"Artifacts of {row.target} as rows of a database, one transaction per day.",
    )
    def signals(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        timer = Timer()
        with translate_errors():
            for built in step.build(store.day_context(context, settings, row)):
                if isinstance(built, BuiltStep):
                    observe(context, signals_database(row), (), numbers=built.numbers)
                    yield dg.MaterializeResult(metadata=timer.numbers(built.numbers))

    return signals


def outcomes_asset(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetsDefinition:
    """Return the asset that reports the outcomes of a day's exposures, by release and kind."""
    step = outcomes_step()

    @target_asset(
        settings,
        row,
        OUTCOMES,
        kinds={"polars", "json"},
        deps=[asset_key(row, CANONICAL)],
        code_version=code_version(rates, params=settings.outcomes.model_dump(mode="json")),
        about=about_asset(settings, rates, key=f"outcomes/{row.tenant}/{row.surface}", page=page_of_target(row)),
        output_required=False,
        description=f"Clicks and purchases after exposures of {row.target}, by release, and results of its rollouts.",
    )
    def outcomes(context: dg.AssetExecutionContext) -> Iterator[Shown]:
        yield from _build(context, step, store.day_context(context, settings, row))

    return outcomes


def _build(
    context: dg.AssetExecutionContext,
    step: Step,
    day: DayContext,
    *,
    prepare: Callable[[], None] | None = None,
    record_inputs: Callable[[dg.AssetExecutionContext, BuiltStep], None] | None = None,
) -> Iterator[Shown]:
    """Run a step and yield its Dagster results. A day without input is skipped.

    `prepare` runs before it. `record_inputs` records an observation of an external asset.
    """
    timer = Timer()
    with attempt(context, day.origin, [day.row], step=step.name):
        try:
            if prepare is not None:
                prepare()
            for result in step.build(day):
                if isinstance(result, JudgedStep):
                    yield check_result(result)
                    continue
                if record_inputs is not None:
                    record_inputs(context, result)
                yield _materialized(day, result, timer)
        except NoInputError as error:
            skipped(context, asset_key(day.row, step.name), error)


def _parameters(params: KindParams) -> dict[str, Any]:
    """Return the parameters that affect the bytes. Limits only refuse, and every engine yields the same bytes."""
    parameters = params.model_dump(mode="json", exclude={"min_days", "max_bytes"})
    return {**parameters, "shards": params.shards, "single_blob": params.single_blob}


def _materialized(day: DayContext, built: BuiltStep, timer: Timer) -> dg.MaterializeResult[Any]:
    tables = {title: markdown_table(table.columns, table.rows) for title, table in built.tables.items()}
    report: dict[str, dg.MetadataValue[Any]] = {}
    if built.shipped is not None:  # The store may become unavailable after the swap. The retry then records it.
        outcome = built.shipped.outcome
        live = outcome.live == outcome.release.id
        release_report = report_release(day.store, day.target, outcome.release, live=live)
        report["report"] = dg.MetadataValue.md(to_markdown(release_report))
    location = stored(day.store, built.key, rows=built.rows) if built.key else {}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(built.version or ""),
        metadata={**timer.numbers(built.numbers), **location, **tables, **report},
    )


def _ensure_canonical(context: dg.AssetExecutionContext, day: DayContext) -> None:
    """Build the canonical day and run its gates if no run has done so, e.g. if only a kind was selected.

    Raises `NoInputError` for a day without events, `RefusedError` if a gate refuses the day.
    """
    if find_document(day.store, canonical_record_key(day.target, day.day), CanonicalRecord) is not None:
        return
    context.log.info("%s of %s was not selected and never built: this step builds it", CANONICAL, day.day)
    _ensure_raw(context, day)
    build_canonical(day)
    report = judge_canonical(day)
    if not report.passed:
        refused = [(CANONICAL, finding.gate) for finding in report.refusals]
        way = way_out(day.settings, day.row, day.day, refused)
        raise RefusedError(f"{CANONICAL} of {day.day}: {'; '.join((*report.refused_because, way))}", refused=refused)


def _ensure_raw(context: dg.AssetExecutionContext, day: DayContext) -> None:
    """Read the raw files of the day if no run has done so, because `raw` is in another group and may not be selected.

    A day that was read before stays unchanged. Only `raw` reads later changes. A re-execution reads changed files
    again, because its input was probably fixed. Raises `NoInputError` for a day without a file, as `raw` does.
    """
    if day.store.stat(raw_record_key(day.day)) is None:
        context.log.info("raw of %s was not selected and never built: its files are read by this step", day.day)
    elif context.run.parent_run_id is not None and changed_inputs(day):
        context.log.info("raw files of %s changed since they were read, and are read again by this step", day.day)
    else:
        return
    build_raw(day.store, day.settings, day.day)
