"""Jobs that people and schedules start: one day of one target, or one day of all."""

from collections.abc import Sequence

import dagster as dg

from recsys_assets.dagster_defs.freshness import CHECK
from recsys_assets.dagster_defs.naming import group_name, job_name, live_key, run_tags
from recsys_assets.dagster_defs.private_api import UnresolvedJob
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

BUILD_ALL = "build_all"


def target_job(settings: Settings, row: TargetSettings, *, raw: dg.AssetKey) -> UnresolvedJob:
    """Return the job that builds, gates and ships one day of one target."""
    return dg.define_asset_job(
        job_name(row),
        selection=(dg.AssetSelection.assets(raw) | dg.AssetSelection.groups(group_name(row))) - live_data([row]),
        description=f"Build, gate and ship one day of {row.target}.",
        tags=run_tags(row, priority=settings.automation_for(row).priority),
        executor_def=dg.in_process_executor,
    )


def all_targets_job(rows: Sequence[TargetSettings], *, raw: dg.AssetKey, name: str = BUILD_ALL) -> UnresolvedJob:
    """Return the job that builds and ships one day of every target; one target's failure leaves the others alone."""
    assets = dg.AssetSelection.assets(raw) | dg.AssetSelection.groups(*map(group_name, rows))
    return dg.define_asset_job(
        name,
        selection=assets - live_data(rows),
        description="Build, gate and ship one day of every target.",
        executor_def=dg.in_process_executor,
    )


def live_data(rows: Sequence[TargetSettings]) -> dg.AssetSelection:
    """Return live data and the checks on its age: they are of the present, so the build of a day must not run them."""
    keys = [live_key(row) for row in rows]
    return dg.AssetSelection.assets(*keys) | dg.AssetSelection.checks(*(dg.AssetCheckKey(key, CHECK) for key in keys))
