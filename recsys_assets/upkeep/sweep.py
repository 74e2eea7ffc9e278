"""Phases of a collection: announced, fenced, decided, carried out. Any process can finish an interrupted one."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from secrets import token_hex

import msgspec

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import PointerChange, replace_damaged_sweep
from recsys_assets.release.document_encoding import (
    MAX_DOCUMENT_BYTES,
    create_document,
    encode,
    find_document,
    find_stored,
)
from recsys_assets.release.documents import CollectedBlob, Sweep
from recsys_assets.release.fault_points import reach
from recsys_assets.release.hold import swap_to_itself
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import blob_key, sweep_key, trash_record_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.trash import LEASE, decode_sweep, move_to_trash, put_back, take_back
from recsys_assets.retry import attempts
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.roots import HORIZON, Retention, Roots, horizon, read_roots

COLLECT = "collect"
FENCES = 3  # Attempts to swap the pointer to itself until the journal records the horizon. Also attempts to decide.


def announce_sweep(change: PointerChange, taken: Sequence[CollectedBlob]) -> Sweep:
    """Record the blobs that may be taken before any is: from then on no change that needs one of them can win.

    If a collection is already announced, return that one. It must be finished first.
    """
    sweep = Sweep(
        id=token_hex(16),
        at=rfc3339(change.now()),
        actor=change.by.name,
        reason=change.by.reason,
        decided=False,
        taken=tuple(taken),
    )
    try:
        create_document(change.store, sweep_key(change.target), sweep)
    except ConflictError:
        return find_sweep(change) or announce_sweep(change, taken)
    reach(f"{COLLECT}.after_announcement")
    return sweep


def find_sweep(change: PointerChange) -> Sweep | None:
    """Return the announced collection, or None. An unreadable record is replaced by an empty collection."""
    key = sweep_key(change.target)
    stored = find_stored(change.store, key)
    if stored is None:
        return None
    try:
        return decode_sweep(stored.data, name=key)
    except CorruptObjectError:
        return replace_damaged_sweep(change, expected=stored.etag)


def carry_out(change: PointerChange, sweep: Sweep, retention: Retention) -> tuple[CollectedBlob, ...]:
    """Decide which blobs to take, move them to the trash, and return them. An interrupted collection is continued.

    The pointer is swapped to itself between announcement and decision. So a change either won before, and its pointer
    is among the roots, or it loses its compare-and-swap, reads again, and finds the announcement. Only blobs that no
    root needs after that are taken.
    """
    store, target = change.store, change.target
    if not sweep.decided:
        _fence(change, sweep, retention)
        sweep = _decide(change, sweep, read_roots(store, target, retention, now=change.now(), sweeping=True))
    reach(f"{COLLECT}.after_decision")
    lease = _record(change, sweep)
    for taken in sweep.taken:
        moved = _move(change, sweep, taken, lease, retention)
        if moved is None:
            break  # another process finished this collection: its blobs may be in use again
        lease = moved
        reach(f"{COLLECT}.after_move")
    _repair(change, sweep, retention)
    if _is_ours(store, target, sweep):
        store.delete(sweep_key(target))
    reach(f"{COLLECT}.after_sweep")
    return sweep.taken


class _Lease(msgspec.Struct, frozen=True):
    """Period in which a collection may delete its blobs. After it, other processes may rely on the keys again."""

    start: datetime
    now: Clock

    def holds(self) -> bool:
        """Return whether deletes may be sent. Setting the clock back ends the lease too."""
        return timedelta() <= self.now() - self.start < LEASE


def _move(
    change: PointerChange, sweep: Sweep, taken: CollectedBlob, lease: _Lease, retention: Retention
) -> _Lease | None:
    """Move one blob to the trash under a lease, renewed if expired. None: another process ended this collection."""
    store, target = change.store, change.target
    while _is_ours(store, target, sweep):
        if not lease.holds():
            lease = _record(change, sweep)
            continue  # check again: it may have been paused and finished by another process before the lease began
        data = move_to_trash(store, target, sweep.id, taken, may_delete=lease.holds)
        if data is None or lease.holds():
            return lease
        _undo_late(change, taken, data, retention)  # the lease ended before or during the delete
    return None


def _undo_late(change: PointerChange, taken: CollectedBlob, data: bytes, retention: Retention) -> None:
    """Restore a blob that this paused process deleted after its lease, if it is needed."""
    roots = read_roots(change.store, change.target, retention, now=change.now())
    if (taken.kind, taken.version) in roots.blobs:
        put_back(change.store, change.target, taken, data)


def _fence(change: PointerChange, sweep: Sweep, retention: Retention) -> None:
    """Swap the pointer to itself and journal the horizon, before anything is moved.

    Raises `ConflictError` if the horizon could not be journaled. Nothing was taken then.
    """
    if read_current(change.store, change.target) is None:  # retired: nothing to swap, and no earlier release is kept
        read_roots(
            change.store, change.target, retention, now=change.now(), sweeping=True
        )  # raises if the target may be restored
        _record_end(change)
        return
    left_since = change.now() - retention.grace
    for _ in attempts(FENCES, pause=change.pause):
        entry = swap_to_itself(
            change,
            message=f"collects up to {len(sweep.taken)} unneeded artifacts",
            details={HORIZON: horizon(change.store, change.target, keep=retention.keep, left_since=left_since)},
        )
        if entry.sequence and HORIZON in entry.details:
            return  # otherwise another process recorded the swap first, without the horizon
    raise ConflictError(f"{change.target}: the horizon could not be journaled; nothing was taken: collect again")


def _record_end(change: PointerChange) -> None:
    """Journal that no earlier entry keeps a release, in case the target ships again."""
    store, target, by = change.store, change.target, change.by
    last = journal.tail(store, target)
    details = {HORIZON: last.sequence + 1 if last else 0}
    message = "collects the artifacts of a retired target"
    entry = journal.entry_of(
        action=COLLECT, outcome=journal.DONE, by=by, now=change.now(), live=None, message=message, details=details
    )
    journal.append(store, target, entry, after=last)


def _record(change: PointerChange, sweep: Sweep) -> _Lease:
    """Record the blobs and the start time in the trash before anything is moved. Returns the lease from then on."""
    store, key = change.store, trash_record_key(change.target, sweep.id)
    start = change.now()
    record = encode(msgspec.structs.replace(sweep, at=rfc3339(start)))
    if sweep.taken:
        with suppress(ConflictError):  # another process finishes this collection too: either record covers the lease
            try:
                stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
                store.swap(key, record, expected=stored.etag)
            except NotFoundError:
                store.create(key, record)
    return _Lease(start, change.now)


def _decide(change: PointerChange, sweep: Sweep, roots: Roots) -> Sweep:
    """Decide that the listed blobs, except claimed ones, will be taken. A decision by another process counts."""
    key = sweep_key(change.target)
    for intent in roots.stale_intents:  # a paused writer has lost its compare-and-swap
        change.store.delete(intent)
    for _ in attempts(FENCES, pause=change.pause):
        stored = find_stored(change.store, key)
        if stored is None:
            break  # finished by another process
        sweep_read = decode_sweep(stored.data, name=key)
        if sweep_read.id != sweep.id:
            break  # the next collection is under way
        if sweep_read.decided:
            return sweep_read
        taken = tuple(taken for taken in sweep_read.taken if (taken.kind, taken.version) not in roots.blobs)
        decided = msgspec.structs.replace(sweep_read, decided=True, taken=taken)
        with suppress(ConflictError):
            change.store.swap(key, encode(decided), expected=stored.etag)
            return decided
    raise ConflictError(f"{change.target}: another process took over this collection; nothing was taken: collect again")


def _is_ours(store: ObjectStore, target: Target, sweep: Sweep) -> bool:
    """Return whether this collection is still under way: one that was paused past its end must not go on."""
    announced = find_document(store, sweep_key(target), Sweep)
    return announced is not None and announced.id == sweep.id


def _repair(change: PointerChange, sweep: Sweep, retention: Retention) -> None:
    """Restore needed blobs, in case this collection was paused between a check and a delete."""
    store, target = change.store, change.target
    roots = read_roots(store, target, retention, now=change.now())
    for taken in sweep.taken:
        if (taken.kind, taken.version) in roots.named and store.stat(
            blob_key(target, taken.kind, taken.version)
        ) is None:
            take_back(store, target, sweep.id, taken)
