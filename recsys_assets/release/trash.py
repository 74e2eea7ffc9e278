"""The trash: artifacts that collection took, kept under names of their own, and taken back when they are needed."""

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

LEASE = timedelta(minutes=5)  # how long a collection may delete after it wrote, or renewed, its record in the trash
_SWEEP_ID = re.compile(r"[0-9a-f]{32}")
_COPY = re.compile(r"([^/]+)/([0-9a-f]{64}(?:\.[a-z0-9]{1,20})?)")
DELETE_LIFETIME = timedelta(minutes=15)  # how long after that a delete that was held or repeated may still take effect


def move_to_trash(
    store: ObjectStore, target: Target, sweep_id: str, taken: CollectedBlob, *, may_delete: Callable[[], bool]
) -> bytes | None:
    """Copy one blob into the trash, then delete it; return its bytes, None if it is gone already.

    One that is larger than was announced stays, for the next collection to judge as it is: the announcement is damaged,
    or it is another object.
    `may_delete` is asked right before the delete: a collection that slept past its lease must not send one. The delete
    is conditional where the store can: in a folder, one that comes late misses a blob that was written again meanwhile.
    """
    key = blob_key(target, taken.kind, taken.version)
    try:
        found = store.get(key, max_bytes=taken.size)
    except (CorruptObjectError, NotFoundError):
        return None
    with suppress(ConflictError):  # copied by this sweep before it was interrupted
        store.create(trashed_key(target, sweep_id, taken.kind, taken.version), found.data)
    if may_delete():
        reach("collect.before_delete")
        _delete_as_read(store, key, etag=found.etag)
    return found.data


def _delete_as_read(store: ObjectStore, key: str, *, etag: str) -> None:
    """Delete the object that was read; another one by now stays, where the store distinguishes them."""
    try:
        store.delete_unchanged(key, expected=etag)
    except ConflictError:
        return  # gone, or written again: whoever did that had a reason
    except UnsafeStoreError:
        store.delete(key)


def put_back(store: ObjectStore, target: Target, taken: CollectedBlob, data: bytes) -> None:
    """Write a blob that was deleted too late to its place again; one that is there is fine."""
    with suppress(ConflictError):
        store.create(blob_key(target, taken.kind, taken.version), data)


def lately_taken(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> Sweep | None:
    """Return a collection that took one of these blobs so lately that a delete of it may still be under way.

    Collections delete within their lease, and a request that was held or repeated is refused by the store
    or over within `DELETE_LIFETIME`. What is written under such a name before could be hit by that delete.
    Judged by the store's own times alone: the clocks of two writers may differ by more than that.
    """
    wanted = {(ref.kind, ref.version) for ref in refs}
    for sweep in _sweeps(store, target) if wanted else ():
        is_taken = bool(wanted & {(taken.kind, taken.version) for taken in sweep.taken})
        if is_taken and may_still_delete(store, target, sweep):
            return sweep
    return None


def may_still_delete(store: ObjectStore, target: Target, sweep: Sweep) -> bool:
    """Return True if a delete that a collection sent may still take effect, by the store's own times.

    Where the record is gone, its copies say since when.
    """
    record = store.stat(trash_record_key(target, sweep.id))
    since = record.modified if record is not None else parse_rfc3339(sweep.at).timestamp()
    clock = f"{trash_prefix(target)}clock-{token_hex(8)}.json"
    store.put(clock, b"{}")
    now = store.stat(clock)
    store.delete(clock)
    return now is None or now.modified - since < DELETE_LIFETIME.total_seconds()


def is_trashed(store: ObjectStore, target: Target, sweep_id: str, taken: CollectedBlob) -> bool:
    """Return whether the trash holds one blob that a sweep took."""
    return store.stat(trashed_key(target, sweep_id, taken.kind, taken.version)) is not None


def take_back(store: ObjectStore, target: Target, sweep_id: str, taken: CollectedBlob) -> bool:
    """Copy one blob out of the trash to its place, and return whether it was there to copy."""
    try:
        data = store.get(trashed_key(target, sweep_id, taken.kind, taken.version), max_bytes=taken.size).data
    except NotFoundError:
        return False
    with suppress(ConflictError):
        store.create(blob_key(target, taken.kind, taken.version), data)
    return True


def rescue(store: ObjectStore, target: Target, missing: tuple[ArtifactRef, ...]) -> tuple[ArtifactRef, ...]:
    """Take blobs back from the trash if their bytes are right; return the ones that it does not hold."""
    if not missing:
        return ()
    sweeps = [sweep.id for sweep in trashed(store, target)]
    return tuple(ref for ref in missing if not any(_revive(store, target, sweep_id, ref) for sweep_id in sweeps))


def trashed(store: ObjectStore, target: Target) -> Iterator[Sweep]:
    """Yield what each finished collection took and the trash still holds, oldest first."""
    yield from sorted(_sweeps(store, target), key=lambda sweep: (sweep.at, sweep.id))


def _sweeps(store: ObjectStore, target: Target) -> Iterator[Sweep]:
    """Yield each sweep as its record and its copies have it: a record that cannot be read never stops a ship.

    A copy is written before its blob is deleted, so what stands in the trash is all that a delete may hit.
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
        copies = [one for item in items if (one := _taken_of(target, sweep_id, item))]
        known = {(one.kind, one.version): one for one in (*(record.taken if record else ()), *copies)}
        yield msgspec.structs.replace(record or _unreadable(sweep_id, items), taken=tuple(known.values()))


def damaged_records(store: ObjectStore, target: Target) -> Iterator[tuple[str, str]]:
    """Yield the id of each sweep in the trash whose record is gone or cannot be read, and what is wrong with it."""
    for sweep_id, items in _listed(store, target).items():
        try:
            _read_record(store, target, sweep_id)
        except NotFoundError as error:
            if not any(item.key == trash_record_key(target, sweep_id) for item in items):
                yield sweep_id, str(error)
        except CorruptObjectError as error:
            yield sweep_id, str(error)


def repair_records(store: ObjectStore, target: Target) -> None:
    """Write each record again that is gone or cannot be read, by what its copies say."""
    damaged = {sweep_id for sweep_id, _ in damaged_records(store, target)}
    for sweep in [sweep for sweep in _sweeps(store, target) if sweep.id in damaged] if damaged else ():
        key = trash_record_key(target, sweep.id)
        stored = find_stored(store, key)
        with suppress(ConflictError):  # another repairs it too
            if stored is None:
                store.create(key, encode(sweep))
            else:
                store.swap(key, encode(sweep), expected=stored.etag)


def _listed(store: ObjectStore, target: Target) -> dict[str, list[Listed]]:
    """Return what the trash holds, by the sweep that took it."""
    found: dict[str, list[Listed]] = {}
    for item in store.list(trash_prefix(target)):
        sweep_id, _, name = item.key.removeprefix(trash_prefix(target)).partition("/")
        if name and _SWEEP_ID.fullmatch(sweep_id):
            found.setdefault(sweep_id, []).append(item)
    return found


def _read_record(store: ObjectStore, target: Target, sweep_id: str) -> Sweep:
    key = trash_record_key(target, sweep_id)
    record = decode_sweep(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, name=key)
    if record.id != sweep_id:
        raise CorruptObjectError(f"{key} names another collection, {record.id}")
    return record


def decode_sweep(data: bytes, *, name: str) -> Sweep:
    """Read what a collection takes; `CorruptObjectError` also for a time that is none, and for what is no artifact."""
    sweep = decode(data, Sweep, name=name)
    try:
        parse_rfc3339(sweep.at)
        for one in sweep.taken:
            check_segment(one.kind, what="artifact kind")
    except ConfigurationError as error:
        raise CorruptObjectError(f"{name}: {error}") from error
    strange = [one for one in sweep.taken if not _COPY.fullmatch(f"{one.kind}/{one.version}") or one.size < 0]
    if strange:
        raise CorruptObjectError(f"{name} names no artifact: {strange[0]}")
    if not _SWEEP_ID.fullmatch(sweep.id):
        raise CorruptObjectError(f"{name} names no collection: {sweep.id!r}")
    return sweep


def _unreadable(sweep_id: str, items: list[Listed]) -> Sweep:
    newest = max(item.modified for item in items)
    at = rfc3339(datetime.fromtimestamp(newest, UTC))
    return Sweep(id=sweep_id, at=at, actor="unknown", reason="its record cannot be read", decided=True, taken=())


def _taken_of(target: Target, sweep_id: str, item: Listed) -> CollectedBlob | None:
    """Return what a copy in the trash is of."""
    name = _COPY.fullmatch(item.key.removeprefix(f"{trash_prefix(target)}{sweep_id}/"))
    return CollectedBlob(kind=name[1], version=version_of_name(name[2]), size=item.size) if name else None


def empty_sweep(store: ObjectStore, target: Target, sweep: Sweep, *, needed: Collection[tuple[str, str]] = ()) -> None:
    """Delete for good what one collection took, its record last; copies of `needed` (kind, version) stay with it.

    A blob that was rebuilt since could still be hit by a late delete: its copy is what it is taken back from.
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
