"""A collection under way: announced, fenced, decided, carried out; whoever finds one half done can finish it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
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
FENCES = 3  # swaps of the pointer to itself, until the journal has one under its own words; then tries to decide


def announce_sweep(change: PointerChange, taken: Sequence[CollectedBlob]) -> Sweep:
    """Write down what may be taken, before anything is: from now on no change that needs one of these can win.

    If a collection is announced already, that one is returned, to be finished first.
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
    """Return the collection that is announced; one of nothing in the place of an announcement that cannot be read."""
    key = sweep_key(change.target)
    stored = find_stored(change.store, key)
    if stored is None:
        return None
    try:
        return decode_sweep(stored.data, name=key)
    except CorruptObjectError:
        return replace_damaged_sweep(change, expected=stored.etag)


def carry_out(change: PointerChange, sweep: Sweep, retention: Retention) -> tuple[CollectedBlob, ...]:
    """Decide what is taken, take it, and return it; a collection that was interrupted goes on where it stopped.

    The pointer is swapped to itself between announcement and decision. So a change either won before, and then its
    pointer is among the roots; or it loses its condition, looks again, and finds the announcement. Only what no root
    names after that is taken.
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
            break  # somebody else finished this collection: what it took may be in use again
        lease = moved
        reach(f"{COLLECT}.after_move")
    _repair(change, sweep, retention)
    if _is_ours(store, target, sweep):
        store.delete(sweep_key(target))
    reach(f"{COLLECT}.after_sweep")
    return sweep.taken


@dataclass(frozen=True, slots=True)
class _Lease:
    """Time in which a collection may delete what it took: after it, others may rely on the names again."""

    start: datetime
    now: Clock

    def holds(self) -> bool:
        """Return True while deletes may be sent; a clock that was set back ends it too."""
        return timedelta() <= self.now() - self.start < LEASE


def _move(
    change: PointerChange, sweep: Sweep, taken: CollectedBlob, lease: _Lease, retention: Retention
) -> _Lease | None:
    """Move one blob into the trash under a lease, renewed where it is over; None: another ended this collection."""
    store, target = change.store, change.target
    while _is_ours(store, target, sweep):
        if not lease.holds():
            lease = _record(change, sweep)
            continue  # look again: it may have slept, and been finished by another, before the lease began
        data = move_to_trash(store, target, sweep.id, taken, may_delete=lease.holds)
        if data is None or lease.holds():
            return lease
        _undo_late(change, taken, data, retention)  # the lease ended before the delete, or while it was under way
    return None


def _undo_late(change: PointerChange, taken: CollectedBlob, data: bytes, retention: Retention) -> None:
    """Write a blob again that this process deleted after its lease, if it is needed: it slept, and others went on."""
    roots = read_roots(change.store, change.target, retention, now=change.now())
    if (taken.kind, taken.version) in roots.blobs:
        put_back(change.store, change.target, taken, data)


def _fence(change: PointerChange, sweep: Sweep, retention: Retention) -> None:
    """Swap the pointer to itself, and record the horizon: nothing goes before the journal says what is not kept."""
    if read_current(change.store, change.target) is None:  # retired: nothing to swap, and nothing of before is kept
        read_roots(
            change.store, change.target, retention, now=change.now(), sweeping=True
        )  # refuses what may come back
        _record_end(change)
        return
    left_since = change.now() - retention.grace
    for _ in attempts(FENCES, pause=change.pause):
        entry = swap_to_itself(
            change,
            message=f"collects up to {len(sweep.taken)} artifacts that nothing needs",
            details={HORIZON: horizon(change.store, change.target, keep=retention.keep, left_since=left_since)},
        )
        if entry.sequence and HORIZON in entry.details:
            return  # else somebody who found the swap first recorded it, and not the horizon
    raise ConflictError(f"{change.target}: the journal does not hold the horizon; nothing was taken: collect again")


def _record_end(change: PointerChange) -> None:
    """Record that no entry so far keeps a release: should the target ever ship again, its past is not counted."""
    store, target, by = change.store, change.target, change.by
    last = journal.tail(store, target)
    details = {HORIZON: last.sequence + 1 if last else 0}
    message = "collects what a retired target left"
    entry = journal.entry_of(
        action=COLLECT, outcome=journal.DONE, by=by, now=change.now(), live=None, message=message, details=details
    )
    journal.append(store, target, entry, after=last)


def _record(change: PointerChange, sweep: Sweep) -> _Lease:
    """Write down what the trash will hold, and since when, before anything is moved; return the lease from then on."""
    store, key = change.store, trash_record_key(change.target, sweep.id)
    start = change.now()
    record = encode(msgspec.structs.replace(sweep, at=rfc3339(start)))
    if sweep.taken:
        with suppress(ConflictError):  # another finishes this collection too: the lease holds by either record
            try:
                stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
                store.swap(key, record, expected=stored.etag)
            except NotFoundError:
                store.create(key, record)
    return _Lease(start, change.now)


def _decide(change: PointerChange, sweep: Sweep, roots: Roots) -> Sweep:
    """Replace what may be taken by what will be, less what changes claimed meanwhile; a decision by another counts."""
    key = sweep_key(change.target)
    for intent in roots.stale_intents:  # its writer, should it wake, has lost its condition
        change.store.delete(intent)
    for _ in attempts(FENCES, pause=change.pause):
        stored = find_stored(change.store, key)
        if stored is None:
            break  # another finished it
        found = decode_sweep(stored.data, name=key)
        if found.id != sweep.id:
            break  # and the next is under way: none of ours
        if found.decided:
            return found
        taken = tuple(taken for taken in found.taken if (taken.kind, taken.version) not in roots.blobs)
        decided = msgspec.structs.replace(found, decided=True, taken=taken)
        with suppress(ConflictError):
            change.store.swap(key, encode(decided), expected=stored.etag)
            return decided
    raise ConflictError(f"{change.target}: another collection went on with this one; nothing was taken: collect again")


def _is_ours(store: ObjectStore, target: Target, sweep: Sweep) -> bool:
    """Return whether this collection is still the one under way: one that slept through its own end must not go on."""
    found = find_document(store, sweep_key(target), Sweep)
    return found is not None and found.id == sweep.id


def _repair(change: PointerChange, sweep: Sweep, retention: Retention) -> None:
    """Take back whatever is needed after all, should this collection have slept between a look and a delete."""
    store, target = change.store, change.target
    roots = read_roots(store, target, retention, now=change.now())
    for taken in sweep.taken:
        if (taken.kind, taken.version) in roots.named and store.stat(
            blob_key(target, taken.kind, taken.version)
        ) is None:
            take_back(store, target, sweep.id, taken)
