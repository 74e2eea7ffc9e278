"""Hold: stop automation from shipping to a target, for certain from the moment that the command returns."""

from collections.abc import Mapping
from dataclasses import dataclass
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
LOUD_AFTER = timedelta(days=3)  # an older hold is probably forgotten: status shows it as a warning


@dataclass(frozen=True, slots=True)
class HoldOutcome:
    """What a hold, or its release, came to: in words, the hold that stands now, the journal's entry (None: dry run)."""

    message: str
    hold: Hold | None
    entry: JournalEntry | None


def read_hold(store: ObjectStore, target: Target) -> Hold | None:
    """Return the hold on a target unless it was lifted; whether it still stands is for `ship_rules.is_in_force`."""
    hold = find_document(store, hold_key(target), Hold)
    return None if hold is None or hold.lifted else hold


def place_hold(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, until: datetime | None = None, dry_run: bool = False
) -> HoldOutcome:
    """Hold a target by hand, until a date or until `release_hold`.

    The pointer is swapped to itself after the hold is written, so that a publish which had not seen the hold loses its
    condition, reads again, and sees it. Raises `RefusedError` when nothing is live.
    """
    if read_current(store, target) is None:
        raise RefusedError(f"{target}: nothing is live, so nothing can be held: ship first, or leave the target out")
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
    """Lift the hold by hand; without a hold the outcome is `unchanged`."""
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
    """Return the hold to lift; one that cannot be read holds too, so it can be lifted."""
    try:
        return read_hold(store, target)
    except CorruptObjectError as error:
        return Hold(at="an unknown time", actor="unknown", reason=str(error))


def write_hold(store: ObjectStore, target: Target, placed: Hold) -> Hold:
    """Put a hold beside the one that stands, and return what stands now: the stricter of both; or lift what stands."""
    key = hold_key(target)
    stored: StoredObject | None = None  # most targets have none: that one stands shows when it is created
    for _ in attempts(MAX_ATTEMPTS):
        found = if_readable(partial(decode, stored.data, Hold, name=key)) if stored else None  # damaged: written over
        hold = placed if placed.lifted or stored is None else stricter(found, placed)
        try:
            if stored is None:
                store.create(key, encode(hold))
            else:
                store.swap(key, encode(hold), expected=stored.etag)
        except (ConflictError, OutcomeUnknownError):
            stored = find_stored(store, key)  # it shows which
            continue
        return hold
    raise ConflictError(f"{key}: {MAX_ATTEMPTS} writes in a row met another writer: try again")


def swap_to_itself(change: PointerChange, *, message: str, details: Mapping[str, Scalar] | None = None) -> JournalEntry:
    """Give the pointer a new time and nothing else: every change under way loses its condition and judges again."""

    def stay_on(current: LivePointer | None, _: JournalHead) -> MovePointer:
        if current is None:
            raise RefusedError(f"{change.target}: the pointer is gone: put it back by `recsys-assets restore-pointer`")
        return MovePointer(current.versions, message=message, details=details or {})

    return change_pointer(change, stay_on)


def is_loud(hold: Hold, *, now: datetime) -> bool:
    """Return whether a hold is so old that it was probably forgotten."""
    return now - parse_rfc3339(hold.at) > LOUD_AFTER
