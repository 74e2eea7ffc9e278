"""The two sides of a back-test: what is live, and what a day staged, each with everything that it was made from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date

from recsys_assets.artifacts.kinds import KINDS
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target
from recsys_assets.manifest.documents import Input, StagedArtifact
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import staged_key
from recsys_assets.manifest.pointer import read_current, release_id_of
from recsys_assets.manifest.releases import read_release
from recsys_assets.sharding import sharded_kind
from recsys_assets.stages.user_key import FACT
from recsys_assets.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its release, its artifacts by kind, and what they were made from."""

    release: str
    versions: Mapping[str, str]
    inputs: Collection[Input]
    user_keys: frozenset[Scalar]  # ids of the keys that its users are hashed by; None among them: as they were sent


def live_side(store: ObjectStore, target: Target) -> Side | None:
    """Return the live release, or None if nothing is live; raises what reading its record raises."""
    current = read_current(store, target)
    if current is None:
        return None
    record = read_release(store, target, current.release_id)
    return Side(
        record.id,
        current.versions,
        [one for member in record.members for one in member.inputs],
        keys_of_users({member.ref.kind: member.facts for member in record.members}),
    )


def staged_side(store: ObjectStore, target: Target, day: date, *, kinds: Collection[str]) -> Side | None:
    """Return what a day staged, or None if it did not stage every kind."""
    staged = [find_document(store, staged_key(target, day, kind), StagedArtifact) for kind in kinds]
    found = [one for one in staged if one is not None]
    if len(found) < len(kinds):
        return None
    versions = {ref.kind: ref.version for one in found for ref in one.named}
    return Side(
        release_id_of(target, versions),
        versions,
        [used for one in found for used in one.inputs],
        keys_of_users({one.ref.kind: one.facts for one in found}),
    )


def candidate_side(store: ObjectStore, target: Target, day: date, *, release: str, versions: Mapping[str, str]) -> Side:
    """Return the candidate of these versions, with what the artifacts that the day staged were made from."""
    side = staged_side(store, target, day, kinds={sharded_kind(kind) for kind in versions})
    return (
        Side(release, versions, [], frozenset()) if side is None else replace(side, release=release, versions=versions)
    )


def keys_of_users(facts: Mapping[str, Mapping[str, Scalar]]) -> frozenset[Scalar]:
    """Return the keys that users are hashed by, from the facts of each kind; kinds without users tell none."""
    return frozenset(told.get(FACT) for kind, told in facts.items() if _has_users(sharded_kind(kind)))


def _has_users(kind: str) -> bool:
    return kind in KINDS and not KINDS[kind].from_catalog
