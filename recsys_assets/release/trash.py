"""The trash: artifacts that collection took, kept under names of their own, and taken back when they are needed."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.release.blob import missing_blobs
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import Sweep, Taken
from recsys_assets.release.layout import blob_key, trash_prefix, trash_record_key, trashed_key
from recsys_assets.storage.store import ObjectStore


def move_to_trash(store: ObjectStore, target: Target, sweep_id: str, taken: Taken) -> None:
    """Copy one blob into the trash, then delete it; a blob that is gone already is fine."""
    key = blob_key(target, taken.kind, taken.version)
    with suppress(NotFoundError):
        data = store.get(key, max_bytes=taken.size).data
        with suppress(ConflictError):  # copied by this sweep before it was interrupted
            store.create(trashed_key(target, sweep_id, taken.kind, taken.version), data)
        store.delete(key)


def is_trashed(store: ObjectStore, target: Target, sweep_id: str, taken: Taken) -> bool:
    """Return whether the trash holds one blob that a sweep took."""
    return store.stat(trashed_key(target, sweep_id, taken.kind, taken.version)) is not None


def take_back(store: ObjectStore, target: Target, sweep_id: str, taken: Taken) -> bool:
    """Copy one blob out of the trash to its place, and return whether it was there to copy."""
    try:
        data = store.get(trashed_key(target, sweep_id, taken.kind, taken.version), max_bytes=taken.size).data
    except NotFoundError:
        return False
    with suppress(ConflictError):
        store.create(blob_key(target, taken.kind, taken.version), data)
    return True


def rescue_missing(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> tuple[ArtifactRef, ...]:
    """Take back from the trash those blobs that are missing; return the ones that are missing still."""
    return rescue(store, target, missing_blobs(store, target, refs))


def rescue(store: ObjectStore, target: Target, missing: tuple[ArtifactRef, ...]) -> tuple[ArtifactRef, ...]:
    """Take blobs back from the trash if their bytes are right; return the ones that it does not hold."""
    if not missing:
        return ()
    sweeps = [sweep.id for sweep in trashed(store, target)]
    return tuple(ref for ref in missing if not any(_revive(store, target, sweep_id, ref) for sweep_id in sweeps))


def trashed(store: ObjectStore, target: Target) -> Iterator[Sweep]:
    """Yield what each finished collection took and the trash still holds, oldest first."""
    records = [item for item in store.list(trash_prefix(target)) if item.key.endswith("/sweep.json")]
    sweeps = [read_document(store, item.key, Sweep) for item in records]
    yield from sorted(sweeps, key=lambda sweep: (sweep.at, sweep.id))


def empty_sweep(store: ObjectStore, target: Target, sweep: Sweep) -> None:
    """Delete for good what one collection took, its record last."""
    for taken in sweep.taken:
        store.delete(trashed_key(target, sweep.id, taken.kind, taken.version))
    store.delete(trash_record_key(target, sweep.id))


def _revive(store: ObjectStore, target: Target, sweep_id: str, ref: ArtifactRef) -> bool:
    try:
        data = store.get(trashed_key(target, sweep_id, ref.kind, ref.version), max_bytes=ref.size).data
    except (NotFoundError, CorruptObjectError):
        return False
    if hashlib.sha256(data).hexdigest() != ref.digest:
        return False
    with suppress(ConflictError):
        store.create(blob_key(target, ref.kind, ref.version), data)
    return True
