"""Journal entries as Dagster events on the manifest asset. All of them can be rebuilt from the store."""

from collections.abc import Iterator, Sequence

import dagster as dg
import msgspec

from recsys_assets.artifact_format import sharded_kind
from recsys_assets.dagster_defs.lineage import Metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key
from recsys_assets.evidence import CANONICAL
from recsys_assets.identity import Target
from recsys_assets.pipeline.steps import MANIFEST
from recsys_assets.release.documents import CanonicalDay, JournalEntry, Member, Release
from recsys_assets.release.journal import changes
from recsys_assets.release.releases import find_release, release_numbers
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

SEQUENCE = "journal"
PAGE = 1000
DATA_VERSION = "dagster/data_version"


def materialization_of(row: TargetSettings, entry: JournalEntry, release: Release) -> dg.AssetMaterialization:
    """Return the event of a release that became live other than by a build of its day (rollback, restore).

    It repeats the numbers of the day's build, because plots show the newest event of a partition.
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
    """Return the materialization of an artifact, from the record of its release."""
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
    """Return the materialization of a canonical day, from the record of a release."""
    return dg.AssetMaterialization(
        asset_key(row, CANONICAL),
        partition=day.day,
        description=f"from the record of release {release.id[:12]}",
        metadata=numbers({"digest": day.digest, "files": len(day.inputs)}),
        tags={"dagster/data_version": day.digest},
    )


def observation_of(row: TargetSettings, entry: JournalEntry) -> dg.AssetObservation:
    """Return the observation of an action that did not change the live release (hold, collection and others)."""
    return dg.AssetObservation(
        asset_key(row, MANIFEST),
        description=f"{entry.action} {entry.outcome}: {entry.reason}",
        metadata=entry_metadata(entry),
    )


def entry_metadata(entry: JournalEntry) -> Metadata:
    """Return the fields of an entry as metadata."""
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


Identity = tuple[str | None, str | None]  # partition, and journal number or data version


def report_to_dagster(
    instance: dg.DagsterInstance,
    store: ObjectStore,
    settings: Settings,
    *,
    targets: Sequence[Target],
    dry_run: bool,
) -> int:
    """Report events that the instance lacks, and return their number (dry run: report nothing).

    Covers the manifest, artifacts and canonical days of every release in the journals. Artifacts that were never
    shipped, and checks, are reported by the next build.
    """
    reported_events = _ReportedEvents(instance)
    reported = 0
    for target in targets:
        row = settings.find(target.tenant, target.surface)
        for event in _events(store, settings, row):
            if reported_events.has(event):
                continue
            reported += 1
            reported_events.add(event)
            if not dry_run:
                instance.report_runless_asset_event(event)
    return reported


def _events(store: ObjectStore, settings: Settings, row: TargetSettings) -> Iterator[dg.AssetMaterialization]:
    """Yield the events that Dagster should have of a target, oldest swap first."""
    for entry in reversed(list(changes(store, row.target))):
        release = find_release(store, row.target, entry.after) if entry.after else None
        if release is not None:
            yield from _built(settings, row, release)
            yield materialization_of(row, entry, release)


def _built(settings: Settings, row: TargetSettings, release: Release) -> Iterator[dg.AssetMaterialization]:
    for day in release.canonical:
        yield canonical_materialization_of(row, day, release)
    # The artifacts include an index and its single object: the index is used.
    indexes = set(release.artifacts.values())
    for member in release.members:
        kind = sharded_kind(member.ref.kind)
        if member.ref in indexes and kind in settings.kinds_for(row):  # removed kinds have no asset
            yield member_materialization_of(row, member, release)


class _ReportedEvents(msgspec.Struct, frozen=True):
    """Events of the instance, loaded once per asset."""

    instance: dg.DagsterInstance
    found: dict[dg.AssetKey, set[Identity]] = msgspec.field(default_factory=dict[dg.AssetKey, set[Identity]])

    def has(self, event: dg.AssetMaterialization) -> bool:
        """Return whether this event was reported before."""
        return _identity(event) in self._of(event.asset_key)

    def add(self, event: dg.AssetMaterialization) -> None:
        """Mark the event as reported, because two releases may share an artifact."""
        self._of(event.asset_key).add(_identity(event))

    def _of(self, key: dg.AssetKey) -> set[Identity]:
        if key not in self.found:
            self.found[key] = {_identity(event) for event in _all(self.instance, key)}
        return self.found[key]


def _identity(event: dg.AssetMaterialization) -> Identity:
    """Return the identity of an asset's event: the journal sequence of a swap, or partition and data version."""
    number = event.metadata.get(SEQUENCE)
    if number is not None:
        return None, str(number.value)
    return event.partition, (event.tags or {}).get(DATA_VERSION)


def _all(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[dg.AssetMaterialization]:
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=PAGE, cursor=cursor)
        for record in page.records:
            if record.asset_materialization is not None:
                yield record.asset_materialization
        if not page.has_more:
            return
        cursor = page.cursor
