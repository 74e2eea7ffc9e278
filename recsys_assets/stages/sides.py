"""The two sides of a back-test: what is live, and what a day staged, each with everything that it was made from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from recsys_assets.identity import Target
from recsys_assets.manifest.documents import Input, StagedArtifact
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import staged_key
from recsys_assets.manifest.pointer import read_current, release_id_of
from recsys_assets.manifest.releases import read_release
from recsys_assets.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its release, its artifacts by kind, and what they were made from."""

    release: str
    versions: Mapping[str, str]
    inputs: Collection[Input]


def live_side(store: ObjectStore, target: Target) -> Side | None:
    """Return the live release, or None if nothing is live; raises what reading its record raises."""
    current = read_current(store, target)
    if current is None:
        return None
    record = read_release(store, target, current.release_id)
    return Side(record.id, current.versions, [one for member in record.members for one in member.inputs])


def staged_side(store: ObjectStore, target: Target, day: date, *, kinds: Collection[str]) -> Side | None:
    """Return what a day staged, or None if it did not stage every kind."""
    staged = [find_document(store, staged_key(target, day, kind), StagedArtifact) for kind in kinds]
    found = [one for one in staged if one is not None]
    if len(found) < len(kinds):
        return None
    versions = {ref.kind: ref.version for one in found for ref in one.named}
    return Side(release_id_of(target, versions), versions, [used for one in found for used in one.inputs])


def staged_inputs(store: ObjectStore, target: Target, day: date, *, kinds: Collection[str]) -> list[Input]:
    """Return everything that the artifacts which a day staged were made from."""
    side = staged_side(store, target, day, kinds=kinds)
    return [] if side is None else list(side.inputs)
