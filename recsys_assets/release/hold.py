"""Hold: stops automation from shipping to a target, guaranteed once the command returns."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

import msgspec

from recsys_assets.errors import ConflictError, CorruptObjectError, OutcomeUnknownError, RefusedError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import MovePointer, PointerChange, change_pointer
from recsys_assets.release.document_encoding import decode, encode, find_document, find_stored, if_readable
from recsys_assets.release.documents import Hold, JournalEntry
from recsys_assets.release.fault_points import reach
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import hold_key
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, record_unmoved
from recsys_assets.release.rollout import end_rollout
from recsys_assets.release.ship_rules import ending, stricter
from recsys_assets.retry import attempts
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore, StoredObject

MAX_ATTEMPTS = 20
LOUD_AFTER = timedelta(days=3)  # Status warns about older holds, because they are probably forgotten.


class HoldOutcome(msgspec.Struct, frozen=True):
    """Outcome of placing or lifting a hold: the hold in force now, and the journal entry (None: dry run)."""

    message: str
    hold: Hold | None
    entry: JournalEntry | None


def read_hold(store: ObjectStore, target: Target) -> Hold | None:
    """Return the hold on a target unless it was lifted. `ship_rules.is_in_force` decides whether it has ended."""
    hold = find_document(store, hold_key(target), Hold)
    return None if hold is None or hold.lifted else hold


def place_hold(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, until: datetime | None = None, dry_run: bool = False
) -> HoldOutcome:
    """Hold a target until a given time or until `release_hold`.

    After the hold is written, the pointer is swapped to itself: a concurrent publish that had not seen the hold loses
    its compare-and-swap, reads again, and sees it. Raises `RefusedError` if nothing is live.
    """
    if read_current(store, target) is None:
        raise RefusedError(
            f"{target}: nothing is live, so the target cannot be held: ship first, or exclude the target"
        )
    hold = Hold(at=rfc3339(now()), actor=by.name, reason=by.reason, until=rfc3339(until) if until else None)
    if dry_run:
        return HoldOutcome(f"dry run: would hold {target} until {ending(hold)}", read_hold(store, target), None)
    ensure_proven(store)
    held = write_hold(store, target, hold)
    end_rollout(store, target, why=f"held by {by.name}", by=by, now=now)
    reach("hold.before_swap_to_itself")
    entry = swap_to_itself(PointerChange(store, target, "hold", by, now), message=f"held until {ending(held)}")
    return HoldOutcome(f"{target} is held until {ending(held)}", held, entry)


def release_hold(store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False) -> HoldOutcome:
    """Lift the hold. The outcome is `unchanged` if there is none."""
    held = _find_hold(store, target)
    message = f"the hold of {held.at} by {held.actor} is lifted" if held else "there is no hold"
    if dry_run:
        return HoldOutcome(f"dry run: {message}", held, None)
    ensure_proven(store)
    if held is not None:
        write_hold(store, target, msgspec.structs.replace(held, lifted=rfc3339(now())))
    reach("release_hold.after_lift")
    current = read_current(store, target)
    outcome = journal.DONE if held else journal.UNCHANGED
    entry = record_unmoved(
        store, target, current, action="release_hold", outcome=outcome, by=by, now=now, message=message
    )
    return HoldOutcome(message, None, entry)


def _find_hold(store: ObjectStore, target: Target) -> Hold | None:
    """Return the hold to lift. An unreadable hold is in force too, so it can be lifted."""
    try:
        return read_hold(store, target)
    except CorruptObjectError as error:
        return Hold(at="an unknown time", actor="unknown", reason=str(error))


def write_hold(store: ObjectStore, target: Target, placed: Hold) -> Hold:
    """Write a hold and return the one in force: the stricter of it and the stored one. A lifted hold replaces both.

    Raises `ConflictError` if other writers kept changing it.
    """
    key = hold_key(target)
    # Most targets have no hold. Creating the document fails if one was placed in the meantime.
    stored: StoredObject | None = None
    for _ in attempts(MAX_ATTEMPTS):
        current = if_readable(partial(decode, stored.data, Hold, name=key)) if stored else None  # damaged: overwritten
        hold = placed if placed.lifted or stored is None else stricter(current, placed)
        try:
            if stored is None:
                store.create(key, encode(hold))
            else:
                store.swap(key, encode(hold), expected=stored.etag)
        except (ConflictError, OutcomeUnknownError):
            stored = find_stored(store, key)  # read what is stored, then retry
            continue
        return hold
    raise ConflictError(f"{key}: {MAX_ATTEMPTS} writes in a row met another writer: retry")


def swap_to_itself(change: PointerChange, *, message: str, details: Mapping[str, Scalar] | None = None) -> JournalEntry:
    """Write the pointer with a new time only: every concurrent change loses its compare-and-swap and is judged again.

    Raises `RefusedError` if the pointer is missing.
    """

    def stay_on(current: LivePointer | None, _: JournalHead) -> MovePointer:
        if current is None:
            raise RefusedError(
                f"{change.target}: the pointer is missing: restore it by `recsys-assets restore-pointer`"
            )
        return MovePointer(current.versions, message=message, details=details or {})

    return change_pointer(change, stay_on)


def is_loud(hold: Hold, *, now: datetime) -> bool:
    """Return whether a hold is so old that it was probably forgotten."""
    return now - parse_rfc3339(hold.at) > LOUD_AFTER
