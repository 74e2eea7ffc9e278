"""Journal entries as Dagster events on the manifest asset, so that the UI shows what happened beside what was built."""

import dagster as dg

from recsys_assets.dagster_defs.metadata import Metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key
from recsys_assets.pipeline.steps import MANIFEST
from recsys_assets.release.candidate import CANONICAL
from recsys_assets.release.documents import CanonicalDay, JournalEntry, Member, Release
from recsys_assets.release.releases import release_numbers
from recsys_assets.settings.target import TargetSettings
from recsys_assets.sharding import sharded_kind

SEQUENCE = "journal"


def materialization_of(row: TargetSettings, entry: JournalEntry, release: Release) -> dg.AssetMaterialization:
    """Return the event that a release became live by something else than a build of its day (rollback, restore).

    It carries the numbers that the build of the day plotted: the newest event of a partition is what plots show.
    """
    return dg.AssetMaterialization(
        asset_key(row, MANIFEST),
        partition=release.data_through,
        description=f"{entry.action} to release {release.id[:12]}: {entry.reason}",
        metadata=entry_metadata(entry)
        | numbers({"release": release.id, "data_through": release.data_through, **release_numbers(release)}),
        tags={"dagster/data_version": release.id},
    )


def member_materialization_of(row: TargetSettings, member: Member, release: Release) -> dg.AssetMaterialization:
    """Return the event that an artifact of a release was built, by what the release records of it."""
    ref = member.ref
    facts = {"version": ref.version, "bytes": member.size, "window": f"{member.window_first} to {member.window_last}"}
    return dg.AssetMaterialization(
        asset_key(row, sharded_kind(ref.kind)),
        partition=member.window_last,
        description=f"from the record of release {release.id[:12]}",
        metadata=numbers({**facts, **member.facts}),
        tags={"dagster/data_version": ref.version},
    )


def canonical_materialization_of(row: TargetSettings, day: CanonicalDay, release: Release) -> dg.AssetMaterialization:
    """Return the event that a canonical day under a release was built, by what the release records of it."""
    return dg.AssetMaterialization(
        asset_key(row, CANONICAL),
        partition=day.day,
        description=f"from the record of release {release.id[:12]}",
        metadata=numbers({"digest": day.digest, "files": len(day.inputs)}),
        tags={"dagster/data_version": day.digest},
    )


def observation_of(row: TargetSettings, entry: JournalEntry) -> dg.AssetObservation:
    """Return the event of something that left the live release as it was (hold, release, collection)."""
    return dg.AssetObservation(
        asset_key(row, MANIFEST),
        description=f"{entry.action} {entry.outcome}: {entry.reason}",
        metadata=entry_metadata(entry),
    )


def entry_metadata(entry: JournalEntry) -> Metadata:
    """Return the facts of an entry under the same names everywhere."""
    return numbers(
        {
            SEQUENCE: entry.sequence,
            "action": entry.action,
            "outcome": entry.outcome,
            "actor": entry.actor,
            "reason": entry.reason,
            "at": entry.at,
            "before": entry.before,
            "after": entry.after,
            **{key: value for key, value in entry.details.items() if key == "message"},
        },
    )
