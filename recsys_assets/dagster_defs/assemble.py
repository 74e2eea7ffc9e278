"""Definitions of the graph: one raw asset, and per target a group from canonical to manifest with gates."""

from collections.abc import Iterator, Sequence

import dagster as dg

from recsys_assets.dagster_defs.alerts import alert_sensors
from recsys_assets.dagster_defs.arrivals import arrivals_sensor
from recsys_assets.dagster_defs.checks import gate_check
from recsys_assets.dagster_defs.freshness import freshness_check, freshness_sensor, live_asset
from recsys_assets.dagster_defs.import_arrivals import import_sensor
from recsys_assets.dagster_defs.jobs import (
    BUILD_ALL,
    all_targets_job,
    collection_schedule,
    nightly_schedule,
    signing_schedule,
    target_job,
)
from recsys_assets.dagster_defs.lineage import catalog_source, exposures_source, external_assets
from recsys_assets.dagster_defs.operation_jobs import operation_jobs
from recsys_assets.dagster_defs.raw import RAW, raw_asset
from recsys_assets.dagster_defs.rollouts import live_sensor, rollout_sensor
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.dagster_defs.sinks import sink_sensor, sinks_asset
from recsys_assets.dagster_defs.target_assets import (
    artifact_asset,
    canonical_asset,
    import_asset,
    manifest_asset,
    outcomes_asset,
    signals_asset,
)
from recsys_assets.kinds.registry import find_kind, read_params
from recsys_assets.pipeline.steps import SIGNALS, artifact_step, canonical_step, import_step
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

Asset = dg.AssetsDefinition | dg.AssetChecksDefinition


def build_definitions(
    settings: Settings | None = None,
    *,
    rows: Sequence[TargetSettings] | None = None,
    raw: dg.AssetKey = RAW,
    name: str = "",
) -> dg.Definitions:
    """Return new definitions of every target, or only of `rows`. The raw asset has the key `raw`.

    The configuration is read from $RECSYS_CONFIG or ./recsys.toml if none is given. `name` is the prefix of jobs and
    sensors over all targets, so that several graphs can share one code location.
    """
    settings = settings or load_settings()
    rows, store = rows or settings.targets, RunStore(settings)
    prefix = f"{name}_" if name else ""
    parts = [part for row in rows for part in target_parts(settings, store, row, raw=raw, name=name)]
    jobs = [target_job(settings, row, raw=raw) for row in rows]
    return dg.Definitions(
        assets=[
            *external_assets(settings, rows, signals=SIGNALS, name=name),
            *(live_asset(settings, row) for row in rows),
            raw_asset(settings, store, rows, exposures=exposures_source(name), key=raw),
            *(part for part in parts if not isinstance(part, dg.AssetChecksDefinition)),
        ],
        asset_checks=[part for part in parts if isinstance(part, dg.AssetChecksDefinition)],
        jobs=[
            all_targets_job(rows, raw=raw, name=f"{prefix}{BUILD_ALL}"),
            *jobs,
            *operation_jobs(settings, store, rows, prefix=prefix),
        ],
        schedules=[
            *(nightly_schedule(settings, row, job) for row, job in zip(rows, jobs, strict=True)),
            collection_schedule(settings, prefix=prefix),
            *([signing_schedule(settings, prefix=prefix)] if settings.signing_keys else []),
        ],
        sensors=[
            arrivals_sensor(settings, store, rows, jobs, prefix=prefix),
            import_sensor(settings, store, rows, jobs, prefix=prefix),
            freshness_sensor(settings, store, rows, prefix=prefix),
            rollout_sensor(settings, store, rows, prefix=prefix),
            live_sensor(settings, store, rows, prefix=prefix),
            *([sink_sensor(settings, store, rows, prefix=prefix)] if _has_sinks(settings, rows) else []),
            *alert_sensors(settings, store, rows, prefix=prefix),
        ],
        executor=None if prefix else dg.in_process_executor,
    )


def _has_sinks(settings: Settings, rows: Sequence[TargetSettings]) -> bool:
    return any(settings.sinks_for(row.target) for row in rows)


def target_parts(
    settings: Settings, store: RunStore, row: TargetSettings, *, raw: dg.AssetKey, name: str = ""
) -> list[Asset]:
    """Return every asset and check of one target."""
    catalog = catalog_source(name)
    kinds = [find_kind(name) for name in settings.artifacts.kinds]
    built = [
        artifact_asset(settings, store, row, kind, read_params(settings, row, kind.name), catalog=catalog)
        for kind in kinds
    ]
    return [
        canonical_asset(settings, store, row, raw=raw),
        *built,
        *(import_asset(settings, store, row, kind) for kind in settings.imports_for(row)),
        *_checks(settings, store, row),
        manifest_asset(settings, store, row),
        *([signals_asset(settings, store, row)] if settings.signals.write else []),
        *([sinks_asset(settings, store, row)] if settings.sinks_for(row.target) else []),
        *([outcomes_asset(settings, store, row)] if settings.outcomes.enabled else []),
        freshness_check(settings, store, row),
    ]


def _checks(settings: Settings, store: RunStore, row: TargetSettings) -> Iterator[dg.AssetChecksDefinition]:
    """Yield the gate check of each asset of one target."""
    kinds, imports = settings.artifacts.kinds, settings.imports_for(row)
    description = "Contract, volume, share of bad lines and of duplicates of the stored day."
    yield gate_check(settings, store, row, canonical_step(), description=description)
    description = "Contract, bounds, size, window and share of excluded events of the stored artifact."
    yield from (gate_check(settings, store, row, artifact_step(kind), description=description) for kind in kinds)
    description = "Format, contract, compatibility with the live one, rows, size and age of the stored file."
    yield from (gate_check(settings, store, row, import_step(kind), description=description) for kind in imports)
