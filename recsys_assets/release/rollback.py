"""Roll back: move the pointer to an earlier release that still proves itself, mark the one it left, and hold."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime

from recsys_assets.errors import ConflictError, RecsysAssetsError, RefusedError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.messages import plural
from recsys_assets.release import journal
from recsys_assets.release.change import (
    KeepPointer,
    MovePointer,
    PointerBasis,
    PointerChange,
    announced,
    change_pointer,
    is_clear_of_collections,
)
from recsys_assets.release.destination import PREVIOUS, alternatives, choose_destination
from recsys_assets.release.documents import Hold, JournalEntry, Release
from recsys_assets.release.fault_points import reach
from recsys_assets.release.forgotten_users import forgotten_since
from recsys_assets.release.hold import write_hold
from recsys_assets.release.journal import Actor, Clock, message_of
from recsys_assets.release.labels import Labelled, find_label, lift_label, put_label
from recsys_assets.release.layout import intent_key
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, recover
from recsys_assets.release.releases import find_release, refs_of, versions_of
from recsys_assets.release.shards import prove_members
from recsys_assets.release.ship_rules import ending
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

ROLL_BACK = "roll_back"
Unless = Callable[[], str]
"""Why a rollback that nobody watches may not go on; empty: it may."""
_LOGGER = logging.getLogger(__name__)
_DONE_BEFORE = (
    "this rollback was interrupted after it had moved the pointer: it is done; to go back further, name the release"
)


@dataclass(frozen=True, slots=True)
class RollbackOutcome:
    """What a rollback came to: the release left, the one live now, in words, the journal's entry (None: dry run)."""

    left: str
    live: str
    hold: Hold | None
    message: str
    entry: JournalEntry | None


@dataclass(frozen=True, slots=True)
class _RollbackRequest:
    """What was asked for, as it was asked, and what was live then."""

    change: PointerChange
    left: LivePointer
    to: str
    hold: bool
    until: datetime | None
    mark_bad: bool
    unless: "Unless"
    head: JournalHead | None = None  # None: nothing is written, so the journal was not looked at


@dataclass(frozen=True, slots=True)
class _RollbackPlan:
    """What was asked for, resolved: where from, where to, and what goes with it."""

    change: PointerChange
    left: LivePointer
    to: Release
    hold: Hold | None
    mark_bad: bool
    unless: "Unless"
    taken_back: bool  # the destination was marked bad itself


def roll_back(  # noqa: PLR0913 - each is an independent wish of who rolls back
    store: ObjectStore,
    target: Target,
    *,
    to: str,
    by: Actor,
    now: Clock,
    hold: bool = True,
    until: datetime | None = None,
    mark_bad: bool = True,
    unless: Unless = str,
    dry_run: bool = False,
) -> RollbackOutcome:
    """Move a target to an earlier release; nothing is computed, and nothing but the store is needed.

    `to` is `previous` (the last release that was live before this one was shipped and is not marked bad), a release id
    (8 digits at least), or an RFC 3339 time (what was live then). The destination's blobs are read and verified first.
    The release left is marked bad, unless `mark_bad` is off or the destination was marked bad itself (a rollback is
    taken back: then that mark is lifted). Automation is held until there is good data newer than the release left, or
    until `until`; without `hold` it is not held at all.

    Raises `RefusedError`, naming alternatives, when there is no such destination or it cannot be served;
    `ConflictError` when something else became live meanwhile: look, then decide again.
    """
    change = PointerChange(store, target, ROLL_BACK, by, now)
    left = read_current(store, target)
    if left is None:
        raise RefusedError(f"{target}: nothing is live: put the pointer back by `recsys-assets restore-pointer`")
    wish = _RollbackRequest(change, left, to, hold, until, mark_bad, unless)
    if dry_run:
        asked = _resolve(wish)
        _prove(asked)
        nothing = asked.to.id == left.release_id
        message = _live_already(asked) if nothing else _message(asked)
        return RollbackOutcome(
            left.release_id, asked.to.id, None if nothing else asked.hold, f"dry run: {message}", None
        )
    ensure_proven(store)
    head = recover(store, target, left, by=by, now=now())
    last = head.change
    if to == PREVIOUS and last is not None and _was_interrupted(change, last):
        return RollbackOutcome(last.before or "", left.release_id, None, _DONE_BEFORE, last)
    try:
        return _roll_back(_resolve(replace(wish, head=head)), head)
    except (RefusedError, ConflictError) as error:
        _record_refusal(change, left, error)
        raise


def _was_interrupted(change: PointerChange, last: JournalEntry) -> bool:
    """Return whether the newest swap is this very rollback, cut short: the command again must not go back twice.

    A rollback that ran to its end has removed its announcement; so this one is finished by removing it.
    """
    by, intent = change.by, last.details.get("intent")
    if (last.action, last.actor, last.reason) != (ROLL_BACK, by.name, by.reason) or not isinstance(intent, str):
        return False
    key = intent_key(change.target, intent)
    if change.store.stat(key) is None:
        return False
    change.store.delete(key)
    return True


def _resolve(wish: _RollbackRequest) -> _RollbackPlan:
    """Return the rollback with its destination found, and its hold."""
    store, target = wish.change.store, wish.change.target
    _check(target, wish.unless)
    newest = wish.head.last if wish.head else None
    release = choose_destination(store, target, wish.left, to=wish.to, now=wish.change.now(), newest=newest)
    taken_back = wish.to != PREVIOUS and find_label(store, target, Labelled.BAD, release.id) is not None
    hold = _hold(wish) if wish.hold else None
    return _RollbackPlan(wish.change, wish.left, release, hold, wish.mark_bad, wish.unless, taken_back)


def _check(target: Target, unless: Unless) -> None:
    why = unless()
    if why:
        raise RefusedError(f"{target}: {why}")


def _prove(asked: _RollbackPlan) -> None:
    """Read every blob of the destination; `RefusedError`, naming alternatives, if one of them cannot be served."""
    if asked.to.id == asked.left.release_id:
        return
    store, target = asked.change.store, asked.change.target
    try:
        prove_members(store, target, asked.to.members)
    except RefusedError as error:
        others = alternatives(store, target, besides=asked.to.id)
        raise RefusedError(f"{error}; what can be rolled back to: {others}") from error


def _hold(wish: _RollbackRequest) -> Hold:
    """Return the hold that goes with it; where the data of the release left is unknown, only a hand lifts it."""
    change, until = wish.change, wish.until
    at = rfc3339(change.now())
    if until is not None:
        return Hold(at=at, actor=change.by.name, reason=change.by.reason, until=rfc3339(until))
    return Hold(at=at, actor=change.by.name, reason=change.by.reason, after_data=_data_through(wish))


def _data_through(wish: _RollbackRequest) -> str | None:
    """Return the last day of the data of the release left, by the journal's entry of it or by its record."""
    entry = wish.head.change if wish.head else None
    if entry is not None and entry.after == wish.left.release_id:
        with suppress(ValueError):
            return date.fromisoformat(str(entry.details.get("data_through"))).isoformat()
    try:
        release = find_release(wish.change.store, wish.change.target, wish.left.release_id)
    except RecsysAssetsError:
        return None  # a record that cannot be read must not keep anybody from leaving its release
    return release.data_through if release else None


def _roll_back(asked: _RollbackPlan, head: JournalHead) -> RollbackOutcome:
    """Prove, mark, hold, then swap: a crash in between leaves the target held on what it had, and a rerun goes on."""
    change = asked.change
    with announced(change, release_id=asked.to.id, refs=refs_of(asked.to)) as change:
        is_clear = False
        if asked.to.id != asked.left.release_id:
            is_clear = is_clear_of_collections(change, refs_of(asked.to))
            _prove(asked)
            asked = _mark_and_hold(asked, mark=asked.mark_bad and not asked.taken_back)
        seen = PointerBasis(asked.left, head) if is_clear else None
        entry = change_pointer(change, lambda current, _: _judge(asked, current), seen=seen)
        if asked.taken_back:
            _lift_bad(asked)
    return RollbackOutcome(asked.left.release_id, asked.to.id, asked.hold, message_of(entry), entry)


def _lift_bad(asked: _RollbackPlan) -> None:
    """Take the bad mark off what is live by now; that this fails does not undo the rollback."""
    try:
        lift_label(asked.change.store, asked.change.target, Labelled.BAD, asked.to.id)
    except RecsysAssetsError as error:
        _LOGGER.warning("release %s is live and still marked bad (%s): unmark it", asked.to.id[:12], error)


def _mark_and_hold(asked: _RollbackPlan, *, mark: bool) -> _RollbackPlan:
    store, target, by = asked.change.store, asked.change.target, asked.change.by
    if mark:
        put_label(store, target, Labelled.BAD, asked.left.release_id, by=by, now=asked.change.now())
    reach(f"{ROLL_BACK}.after_mark")
    if asked.hold is not None:
        asked = replace(asked, hold=write_hold(store, target, asked.hold))
    reach(f"{ROLL_BACK}.after_hold")
    return asked


def _judge(asked: _RollbackPlan, current: LivePointer | None) -> MovePointer | KeepPointer:
    """Judge again on the very pointer that is replaced: from another release than was looked at, nobody rolls back."""
    if current is not None and current.release_id == asked.to.id:
        return KeepPointer(journal.UNCHANGED, _live_already(asked))
    if current is None or current.release_id != asked.left.release_id:
        raise ConflictError(
            f"{asked.change.target}: {asked.left.release_id[:12]} was live when this rollback began, and is no more: "
            "see `recsys-assets status`, then decide again"
        )
    _check(asked.change.target, asked.unless)
    return MovePointer(
        versions_of(asked.to), refs_of(asked.to), _message(asked), {"data_through": asked.to.data_through}
    )


def _message(asked: _RollbackPlan) -> str:
    held = f"held until {ending(asked.hold)}" if asked.hold else "not held"
    moved = f"from release {asked.left.release_id[:12]} back to {asked.to.id[:12]}"
    since = forgotten_since(asked.change.store, asked.change.target, asked.to.recorded_at)
    again = f"; it may hold {plural(since, 'user')} forgotten since: `recsys-assets forget` them again" if since else ""
    return f"{moved}, data through {asked.to.data_through}, {held}{again}"


def _live_already(asked: _RollbackPlan) -> str:
    return f"release {asked.to.id[:12]} is live already"


def _record_refusal(change: PointerChange, left: LivePointer, refusal: RecsysAssetsError) -> None:
    try:
        entry = journal.entry_of(
            action=ROLL_BACK, outcome=journal.REFUSED, by=change.by, now=change.now(), live=left, message=str(refusal)
        )
        journal.append(change.store, change.target, entry, after=journal.tail(change.store, change.target))
    except RecsysAssetsError as error:
        refusal.add_note(f"nor could this be written to the journal: {error}")
