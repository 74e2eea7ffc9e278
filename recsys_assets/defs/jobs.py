"""The jobs that people and schedules start: one day of one target, or one day of all."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)  # named nowhere public

from recsys_assets.config import TargetSettings
from recsys_assets.defs.naming import group_name, job_name
from recsys_assets.defs.raw import RAW

BUILD_ALL = "build_all"


def target_job(row: TargetSettings) -> UnresolvedAssetJobDefinition:
    """Return the job that builds, gates and ships one day of one target."""
    return dg.define_asset_job(
        job_name(row),
        selection=dg.AssetSelection.assets(RAW) | dg.AssetSelection.groups(group_name(row)),
        description=f"Build, gate and ship one day of {row.target}.",
        tags={"recsys/target": str(row.target)},
    )


def all_targets_job() -> UnresolvedAssetJobDefinition:
    """Return the job that builds and ships one day of every target; one target's failure leaves the others alone."""
    return dg.define_asset_job(
        BUILD_ALL,
        selection=dg.AssetSelection.all(),
        description="Build, gate and ship one day of every target.",
    )
