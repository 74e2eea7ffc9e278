"""Releases and artifacts that hold a user: by a look-up where a kind has rows of users, decoded where it has none."""

from collections.abc import Collection, Iterator, Sequence

from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.imports.safetensors import read_safetensors
from recsys_assets.kind_descriptions import VectorShape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.user_key import FACT, configured_key
from recsys_assets.privacy.search import holds
from recsys_assets.release.blob import read_blob
from recsys_assets.release.documents import Release
from recsys_assets.serving.factors import Ids
from recsys_assets.serving.served import prove
from recsys_assets.settings.settings import Settings
from recsys_assets.sharding import shard_of
from recsys_assets.storage.store import ObjectStore


def releases_that_hold(
    store: ObjectStore, target: Target, names: Collection[str], releases: Sequence[Release]
) -> list[str]:
    """Return the ids of those releases that have an artifact which names the user; each artifact is read once."""
    known: dict[tuple[str, str], bool] = {}
    found: list[str] = []
    for release in releases:
        for ref in _homes(release, names):
            address = (ref.kind, ref.version)
            if address not in known:
                known[address] = names_user(store, target, names, ref)
            if known[address]:
                found.append(release.id)
                break
    return found


def under_other_key(settings: Settings, releases: Sequence[Release]) -> list[str]:
    """Return the ids of those releases whose users are hashed by a key that is not configured."""
    key = configured_key(settings)
    known = {None} if key is None else {None, key.id}
    return [one.id for one in releases if not {member.facts.get(FACT) for member in one.members} <= known]


def names_user(store: ObjectStore, target: Target, names: Collection[str], ref: ArtifactRef) -> bool:
    """Return True if an artifact has a row of the user, or, without rows to look up, names it once decoded.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if it is not exactly the one referred to.
    """
    name = f"{ref.kind} {ref.version[:12]}"
    data = read_blob(store, target, ref)
    rows = prove(target, ref.kind, ref.version, data, name=name).rows
    shape = KINDS[ref.kind].shape if ref.kind in KINDS else None
    if isinstance(shape, VectorShape):
        return "user_id" in shape.tables and _has_vector(data, names, name=name)
    if rows is None:
        return holds(data, names)
    return rows.form.key == "user_id" and any(rows.find(one) is not None for one in names)


def _homes(release: Release, names: Collection[str]) -> Iterator[ArtifactRef]:
    """Yield the objects of a release that may name a user: of a kind in shards those where the names would be."""
    for member in release.members:
        shards = member.shard_refs
        yield from (shards[shard_of(name, len(shards))] for name in sorted(names)) if shards else (member.ref,)


def _has_vector(data: bytes, names: Collection[str], *, name: str) -> bool:
    """Return True if the user has a vector: in the bytes of ids, one may be a part of another."""
    users = Ids.of(read_safetensors(data, name=name), "user_id")
    return any(users.find(one) is not None for one in names)
