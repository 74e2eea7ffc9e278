"""The trash: collected artifacts, stored under separate keys until they are deleted, and restored when needed."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    UnsafeStoreError,
)
from recsys_assets.identity import ArtifactRef, Target, check_segment, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode, find_stored
from recsys_assets.release.documents import CollectedBlob, Sweep
from recsys_assets.release.fault_points import reach
from recsys_assets.release.layout import blob_key, trash_prefix, trash_record_key, trashed_key, version_of_name
from recsys_assets.storage.store import Listed, ObjectStore

LEASE = timedelta(minutes=5)  # a collection may delete this long after it wrote or renewed its record in the trash
_SWEEP_ID = re.compile(r"[0-9a-f]{32}")
_COPY = re.compile(r"([^/]+)/([0-9a-f]{64}(?:\.[a-z0-9]{1,20})?)")
DELETE_LIFETIME = timedelta(minutes=15)  # a delayed or repeated delete may take effect this long after the lease


def move_to_trash(
    store: ObjectStore, target: Target, sweep_id: str, taken: CollectedBlob, *, may_delete: Callable[[], bool]
) -> bytes | None:
    """Copy one blob into the trash, then delete it. Returns its bytes, or None if it was already missing.

    A blob larger than its recorded size stays for the next collection: the record is damaged, or the object was
    replaced. `may_delete` is called right before the delete: a collection paused past its lease must not delete. The
    delete is conditional if the store supports it, so that a late delete misses a blob that was written again.
    """
    key = blob_key(target, taken.kind, taken.version)
    try:
        stored = store.get(key, max_bytes=taken.size)
    except (CorruptObjectError, NotFoundError):
        return None
    with suppress(ConflictError):  # copied by this sweep before it was interrupted
        store.create(trashed_key(target, sweep_id, taken.kind, taken.version), stored.data)
    if may_delete():
        reach("collect.before_delete")
        _delete_as_read(store, key, etag=stored.etag)
    return stored.data


def _delete_as_read(store: ObjectStore, key: str, *, etag: str) -> None:
    """Delete the object that was read. One that replaced it stays, if the store supports conditional deletes."""
    try:
        store.delete_unchanged(key, expected=etag)
    except ConflictError:
        return  # deleted or written again concurrently
    except UnsafeStoreError:
        store.delete(key)


def put_back(store: ObjectStore, target: Target, taken: CollectedBlob, data: bytes) -> None:
    """Write a blob back that a late delete removed. No-op if it exists."""
    with suppress(ConflictError):
        store.create(blob_key(target, taken.kind, taken.version), data)


def lately_taken(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> Sweep | None:
    """Return a collection that took one of these blobs so recently that a delete may still be under way, or None.

    Collections delete within their lease, and a delayed or repeated request has failed or finished within
    `DELETE_LIFETIME`. A blob written under the same key before then could be deleted by it. Only the store's own
    timestamps are compared, because the clocks of two writers may differ by more than that.
    """
    wanted = {(ref.kind, ref.version) for ref in refs}
    for sweep in _sweeps(store, target) if wanted else ():
        is_taken = bool(wanted & {(taken.kind, taken.version) for taken in sweep.taken})
        if is_taken and may_still_delete(store, target, sweep):
            return sweep
    return None


def may_still_delete(store: ObjectStore, target: Target, sweep: Sweep) -> bool:
    """Return whether a delete sent by a collection may still take effect, by the store's own timestamps.

    Without the collection's record, its start is taken from its copies in the trash.
    """
    record = store.stat(trash_record_key(target, sweep.id))
    since = record.modified if record is not None else parse_rfc3339(sweep.at).timestamp()
    clock = f"{trash_prefix(target)}clock-{token_hex(8)}.json"
    store.put(clock, b"{}")
    now = store.stat(clock)
    store.delete(clock)
    return now is None or now.modified - since < DELETE_LIFETIME.total_seconds()


def is_trashed(store: ObjectStore, target: Target, sweep_id: str, taken: CollectedBlob) -> bool:
    """Return whether a blob that a collection took is in the trash."""
    return store.stat(trashed_key(target, sweep_id, taken.kind, taken.version)) is not None


def take_back(store: ObjectStore, target: Target, sweep_id: str, taken: CollectedBlob) -> bool:
    """Copy one blob from the trash back to its key. Returns False if the trash does not contain it."""
    try:
        data = store.get(trashed_key(target, sweep_id, taken.kind, taken.version), max_bytes=taken.size).data
    except NotFoundError:
        return False
    with suppress(ConflictError):
        store.create(blob_key(target, taken.kind, taken.version), data)
    return True


def restore_from_trash(store: ObjectStore, target: Target, missing: tuple[ArtifactRef, ...]) -> tuple[ArtifactRef, ...]:
    """Restore blobs from the trash if their digest matches. Returns the refs that could not be restored."""
    if not missing:
        return ()
    sweeps = [sweep.id for sweep in trashed(store, target)]
    return tuple(ref for ref in missing if not any(_revive(store, target, sweep_id, ref) for sweep_id in sweeps))


def trashed(store: ObjectStore, target: Target) -> Iterator[Sweep]:
    """Yield the finished collections whose blobs are in the trash, oldest first."""
    yield from sorted(_sweeps(store, target), key=lambda sweep: (sweep.at, sweep.id))


def _sweeps(store: ObjectStore, target: Target) -> Iterator[Sweep]:
    """Yield each collection in the trash, from its record and its copies: an unreadable record never blocks a ship.

    A copy is written before its blob is deleted, so the trash shows every blob that a delete may hit.
    """
    for sweep_id, items in _listed(store, target).items():
        try:
            record = _read_record(store, target, sweep_id)
        except NotFoundError:
            if any(item.key == trash_record_key(target, sweep_id) for item in items):
                continue  # emptied since it was listed
            record = None
        except CorruptObjectError:
            record = None
        copies = [blob for item in items if (blob := _taken_of(target, sweep_id, item))]
        taken = {(blob.kind, blob.version): blob for blob in (*(record.taken if record else ()), *copies)}
        yield msgspec.structs.replace(record or _unreadable(sweep_id, items), taken=tuple(taken.values()))


def damaged_records(store: ObjectStore, target: Target) -> Iterator[tuple[str, str]]:
    """Yield the id and the fault of each collection in the trash whose record is missing or unreadable."""
    for sweep_id, items in _listed(store, target).items():
        try:
            _read_record(store, target, sweep_id)
        except NotFoundError as error:
            if not any(item.key == trash_record_key(target, sweep_id) for item in items):
                yield sweep_id, str(error)
        except CorruptObjectError as error:
            yield sweep_id, str(error)


def repair_records(store: ObjectStore, target: Target) -> None:
    """Rewrite each missing or unreadable record from its copies."""
    damaged = {sweep_id for sweep_id, _ in damaged_records(store, target)}
    for sweep in [sweep for sweep in _sweeps(store, target) if sweep.id in damaged] if damaged else ():
        key = trash_record_key(target, sweep.id)
        stored = find_stored(store, key)
        with suppress(ConflictError):  # repaired concurrently
            if stored is None:
                store.create(key, encode(sweep))
            else:
                store.swap(key, encode(sweep), expected=stored.etag)


def _listed(store: ObjectStore, target: Target) -> dict[str, list[Listed]]:
    """Return the objects in the trash by the id of their collection."""
    objects: dict[str, list[Listed]] = {}
    for item in store.list(trash_prefix(target)):
        sweep_id, _, name = item.key.removeprefix(trash_prefix(target)).partition("/")
        if name and _SWEEP_ID.fullmatch(sweep_id):
            objects.setdefault(sweep_id, []).append(item)
    return objects


def _read_record(store: ObjectStore, target: Target, sweep_id: str) -> Sweep:
    key = trash_record_key(target, sweep_id)
    record = decode_sweep(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, name=key)
    if record.id != sweep_id:
        raise CorruptObjectError(f"{key} is the record of another collection, {record.id}")
    return record


def decode_sweep(data: bytes, *, name: str) -> Sweep:
    """Decode the record of a collection. Raises `CorruptObjectError` also for an invalid timestamp or artifact."""
    sweep = decode(data, Sweep, name=name)
    try:
        parse_rfc3339(sweep.at)
        for blob in sweep.taken:
            check_segment(blob.kind, what="artifact kind")
    except ConfigurationError as error:
        raise CorruptObjectError(f"{name}: {error}") from error
    invalid = [blob for blob in sweep.taken if not _COPY.fullmatch(f"{blob.kind}/{blob.version}") or blob.size < 0]
    if invalid:
        raise CorruptObjectError(f"{name} contains an invalid artifact: {invalid[0]}")
    if not _SWEEP_ID.fullmatch(sweep.id):
        raise CorruptObjectError(f"{name} has an invalid collection id: {sweep.id!r}")
    return sweep


def _unreadable(sweep_id: str, items: list[Listed]) -> Sweep:
    newest = max(item.modified for item in items)
    at = rfc3339(datetime.fromtimestamp(newest, UTC))
    return Sweep(id=sweep_id, at=at, actor="unknown", reason="its record cannot be read", decided=True, taken=())


def _taken_of(target: Target, sweep_id: str, item: Listed) -> CollectedBlob | None:
    """Return the blob that an object in the trash is a copy of, or None if it is not a copy."""
    name = _COPY.fullmatch(item.key.removeprefix(f"{trash_prefix(target)}{sweep_id}/"))
    return CollectedBlob(kind=name[1], version=version_of_name(name[2]), size=item.size) if name else None


def empty_sweep(store: ObjectStore, target: Target, sweep: Sweep, *, needed: Collection[tuple[str, str]] = ()) -> None:
    """Delete the copies of one collection permanently, then its record. Copies of `needed` (kind, version) stay.

    A rebuilt blob could still be hit by a late delete, and is then restored from its copy.
    """
    for taken in sweep.taken:
        if (taken.kind, taken.version) not in needed:
            store.delete(trashed_key(target, sweep.id, taken.kind, taken.version))
    if not any((taken.kind, taken.version) in needed for taken in sweep.taken):
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
