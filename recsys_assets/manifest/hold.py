"""Hold: stop automation from shipping to a target, for certain from the moment that the command returns."""

from collections.abc import Callable
from datetime import datetime, timedelta

from recsys_assets.errors import ConflictError, NotFoundError, RefusedError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.manifest import journal
from recsys_assets.manifest.documents import Hold, JournalEntry, Release, encode, read_document, read_stored
from recsys_assets.manifest.faults import reach
from recsys_assets.manifest.journal import Actor
from recsys_assets.manifest.layout import hold_key
from recsys_assets.manifest.pointer import make_pointer, read_current, swap_pointer
from recsys_assets.storage.store import ObjectStore

MAX_ATTEMPTS = 20
LOUD_AFTER = timedelta(days=3)  # an older hold is probably forgotten: status shows it as a warning


def read_hold(store: ObjectStore, target: Target) -> Hold | None:
    """Return the hold on a target, over or not, or None."""
    try:
        hold = read_document(store, hold_key(target), Hold)
    except NotFoundError:
        return None
    return None if hold.lifted else hold


def standing_hold(store: ObjectStore, target: Target, release: Release, *, now: datetime) -> Hold | None:
    """Return the hold that keeps this release from shipping, or None: by its date, or by newer data that differs."""
    hold = read_hold(store, target)
    if hold is None:
        return None
    if hold.until is not None and now >= parse_rfc3339(hold.until):
        return None
    if hold.after_data is not None and release.id != hold.bad_release:
        return hold if release.data_through <= hold.after_data else None
    return hold


def place_hold(
    store: ObjectStore,
    target: Target,
    *,
    by: Actor,
    now: Callable[[], datetime],
    until: datetime | None = None,
    dry_run: bool = False,
) -> JournalEntry | None:
    """Hold a target by hand, until a date or until `release_hold`; return the journal entry.

    The pointer is swapped to itself after the hold is written, so that a publish which had not seen the hold loses its
    condition, reads again, and sees it.
    """
    current = read_current(store, target)
    if current is None:
        raise RefusedError(
            f"{target}: nothing is live, so nothing can be held: take the target out of the configuration"
        )
    if dry_run:
        return None
    hold = Hold(at=rfc3339(now()), actor=by.name, reason=by.reason, until=rfc3339(until) if until else None)
    write_hold(store, target, hold)
    reach("hold.before_swap")
    return fence_off(store, target, action="hold", by=by, now=now)


def release_hold(
    store: ObjectStore,
    target: Target,
    *,
    by: Actor,
    now: Callable[[], datetime],
    dry_run: bool = False,
) -> JournalEntry | None:
    """Lift the hold by hand; return the journal entry, whose outcome is `unchanged` when there was none."""
    held = read_hold(store, target)
    current = read_current(store, target)
    live = current.release_id if current else None
    if dry_run:
        return None
    if held is not None:
        lifted = Hold(at=held.at, actor=held.actor, reason=held.reason, lifted=rfc3339(now()))
        write_hold(store, target, lifted)
    reach("hold.after_lift")
    outcome = "unchanged" if held is None else journal.DONE
    entry = journal.entry_of(action="release_hold", outcome=outcome, by=by, now=now(), before=live, after=live)
    return journal.append(store, target, entry)


def write_hold(store: ObjectStore, target: Target, hold: Hold) -> None:
    """Put a hold in place of the one that stands, whoever else writes one at the same time."""
    key = hold_key(target)
    for _ in range(MAX_ATTEMPTS):
        try:
            _, stored = read_stored(store, key, Hold)
            store.swap(key, encode(hold), expected=stored.etag)
        except NotFoundError:
            try:
                store.create(key, encode(hold))
            except ConflictError:
                continue
            return
        except ConflictError:
            continue
        return
    raise ConflictError(f"{key}: {MAX_ATTEMPTS} writes in a row met another writer: try again")


def fence_off(
    store: ObjectStore, target: Target, *, action: str, by: Actor, now: Callable[[], datetime]
) -> JournalEntry:
    """Swap the pointer to itself with a new time, and tell it: every publish under way loses its condition."""
    for _ in range(MAX_ATTEMPTS):
        current = read_current(store, target)
        if current is None:
            raise RefusedError(f"{target}: the pointer is gone: restore it first")
        journal.recover(store, target, current, by=by, now=now())
        pointer = make_pointer(store.root_uri, target, current.versions, after=current, now=now())
        try:
            swapped = swap_pointer(store, target, pointer, expected=current)
        except ConflictError:
            continue
        reach(f"{action}.after_swap")
        entry = journal.entry_of(
            action=action,
            outcome=journal.DONE,
            by=by,
            now=now(),
            before=current.release_id,
            after=swapped.release_id,
            pointer_at=swapped.pointer.updated_at,
        )
        return journal.append(store, target, entry)
    raise ConflictError(f"{target}: {MAX_ATTEMPTS} swaps in a row met another writer: try again")


def is_loud(hold: Hold, *, now: datetime) -> bool:
    """Tell whether a hold is so old that it was probably forgotten."""
    return now - parse_rfc3339(hold.at) > LOUD_AFTER
