"""Definitions of the graph: one raw asset, and per target a group from canonical to manifest, a gate behind each."""

from collections.abc import Sequence

import dagster as dg

from recsys_assets.dagster_defs.alerts import alert_sensors
from recsys_assets.dagster_defs.arrivals import arrivals_sensor
from recsys_assets.dagster_defs.artifacts import artifact_asset
from recsys_assets.dagster_defs.canonical import canonical_asset
from recsys_assets.dagster_defs.checks import gate_check
from recsys_assets.dagster_defs.freshness import freshness_check, freshness_sensor
from recsys_assets.dagster_defs.import_arrivals import import_sensor
from recsys_assets.dagster_defs.imports import import_asset, import_check
from recsys_assets.dagster_defs.jobs import all_targets_job, target_job
from recsys_assets.dagster_defs.lineage import external_assets
from recsys_assets.dagster_defs.manifest import manifest_asset
from recsys_assets.dagster_defs.naming import CANONICAL
from recsys_assets.dagster_defs.operations import operation_jobs
from recsys_assets.dagster_defs.raw import RAW, raw_asset
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.dagster_defs.schedules import nightly_schedule
from recsys_assets.dagster_defs.signals import SIGNALS, signals_asset
from recsys_assets.dagster_defs.spark import spark_resource
from recsys_assets.kinds.registry import find_kind, read_params
from recsys_assets.pipeline.artifact import judge_artifact
from recsys_assets.pipeline.canonical import judge_canonical
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

Asset = dg.AssetsDefinition | dg.AssetChecksDefinition


def build_definitions(
    settings: Settings | None = None, *, rows: Sequence[TargetSettings] | None = None, raw: dg.AssetKey = RAW
) -> dg.Definitions:
    """Return a fresh graph of every target, or of `rows` only, whose raw asset has the key `raw`.

    The configuration is read from $RECSYS_CONFIG or ./recsys.toml when none is given.
    """
    settings = settings or load_settings()
    rows = rows or settings.targets
    parts = [part for row in rows for part in target_parts(settings, row, raw=raw)]
    jobs = [target_job(settings, row, raw=raw) for row in rows]
    return dg.Definitions(
        assets=[
            raw_asset(settings, rows, key=raw),
            *external_assets(settings, rows, signals=SIGNALS),
            *(part for part in parts if not isinstance(part, dg.AssetChecksDefinition)),
        ],
        asset_checks=[part for part in parts if isinstance(part, dg.AssetChecksDefinition)],
        jobs=[all_targets_job(rows), *jobs, *operation_jobs(settings)],
        schedules=[nightly_schedule(settings, row, job) for row, job in zip(rows, jobs, strict=True)],
        sensors=[
            arrivals_sensor(settings, rows, jobs),
            import_sensor(settings, rows, jobs),
            freshness_sensor(settings, rows),
            *alert_sensors(settings, rows),
        ],
        resources={
            "store": StoreResource(
                root=settings.resolve(settings.storage.root),
                must_exist=settings.storage.must_exist,
                signing_keys=list(settings.signing_keys),
                signature_days=settings.signing.valid_days,
            ),
            "spark": spark_resource(settings.engines.spark),
        },
        executor=dg.in_process_executor,
    )


def target_parts(settings: Settings, row: TargetSettings, *, raw: dg.AssetKey) -> list[Asset]:
    """Return every asset and check of one target."""
    kinds = [find_kind(name) for name in settings.artifacts.kinds]
    built = [artifact_asset(settings, row, kind, read_params(settings, row, kind.name)) for kind in kinds]
    checks = [_artifact_check(settings, row, kind.name) for kind in kinds]
    return [
        canonical_asset(settings, row, raw=raw),
        _canonical_check(settings, row),
        *built,
        *(import_asset(settings, row, kind) for kind in settings.imports_for(row)),
        *checks,
        *(import_check(settings, row, kind) for kind in settings.imports_for(row)),
        manifest_asset(settings, row),
        *([signals_asset(settings, row)] if settings.signals.write else []),
        freshness_check(settings, row),
    ]


def _canonical_check(settings: Settings, row: TargetSettings) -> dg.AssetChecksDefinition:
    return gate_check(
        settings,
        row,
        CANONICAL,
        judge=judge_canonical,
        description="Contract, volume, share of bad lines and of duplicates of the stored day.",
    )


def _artifact_check(settings: Settings, row: TargetSettings, kind: str) -> dg.AssetChecksDefinition:
    return gate_check(
        settings,
        row,
        kind,
        judge=lambda day: judge_artifact(day, kind),
        description="Contract, bounds, size, window and share left out of the stored artifact.",
    )
