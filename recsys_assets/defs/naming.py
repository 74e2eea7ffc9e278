"""What Dagster calls a target's assets, group, tags and jobs."""

import dagster as dg

from recsys_assets.config import TargetSettings

MANIFEST = "manifest"
CANONICAL = "canonical"


def asset_key(row: TargetSettings, name: str) -> dg.AssetKey:
    """Return `[tenant, surface, name]`, or `[slug, name]` for a target that Dagster cannot carry by name."""
    return dg.AssetKey([*row.slug_parts, name])


def group_name(row: TargetSettings) -> str:
    """Return the group that shows a target by itself in the asset graph."""
    return "/".join(row.slug_parts)


def job_name(row: TargetSettings) -> str:
    """Return the name of the job that builds one day of the target."""
    return f"build_{'__'.join(row.slug_parts)}"


def asset_tags(row: TargetSettings) -> dict[str, str]:
    """Return the tags that select a target's assets in the UI and in selections."""
    return {"recsys/target": "__".join(row.slug_parts)[:63]}
