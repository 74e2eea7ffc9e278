"""Rollback: move the pointer to an earlier, verified release, mark the replaced release bad, and hold the target."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime

import msgspec
from msgspec.structs import replace

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
from recsys_assets.release.documents import Hold, JournalEntry, Release
from recsys_assets.release.fault_points import reach
from recsys_assets.release.forgotten_users import forgotten_since
from recsys_assets.release.hold import write_hold
from recsys_assets.release.journal import Actor, Clock, message_of
from recsys_assets.release.labels import Labelled, find_label, lift_label, put_label
from recsys_assets.release.layout import intent_key
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, recover
from recsys_assets.release.releases import (
    PREVIOUS,
    alternatives,
    choose_destination,
    find_release,
    refs_of,
    versions_of,
)
from recsys_assets.release.shards import prove_members
from recsys_assets.release.ship_rules import ending
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

ROLL_BACK = "roll_back"
Unless = Callable[[], str]
"""Returns the reason why an automatic rollback must not go on, or "" if it may."""
_LOGGER = logging.getLogger(__name__)
_DONE_BEFORE = (
    "this rollback was interrupted after it had moved the pointer: it is done. To go back further, name the release"
)


class RollbackOutcome(msgspec.Struct, frozen=True):
    """Outcome of a rollback: the release that was replaced, the live release, and the journal entry (None: dry run)."""

    left: str
    live: str
    hold: Hold | None
    message: str
    entry: JournalEntry | None


class _RollbackRequest(msgspec.Struct, frozen=True):
    """A rollback as requested, and the pointer that was live at that time."""

    change: PointerChange
    left: LivePointer
    to: str
    hold: bool
    until: datetime | None
    mark_bad: bool
    unless: "Unless"
    head: JournalHead | None = None  # None: dry run, the journal was not read


class _RollbackPlan(msgspec.Struct, frozen=True):
    """A rollback with its destination resolved to a release."""

    change: PointerChange
    left: LivePointer
    to: Release
    hold: Hold | None
    mark_bad: bool
    unless: "Unless"
    taken_back: bool  # the destination was marked bad: this undoes an earlier rollback


def roll_back(  # noqa: PLR0913 - independent options of a rollback
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
    """Move a target back to an earlier release. Nothing is recomputed, and only the store is needed.

    `to` is `previous` (the last release that was live before the current one and is not marked bad), a release id
    (at least 8 digits), the name of a release, or an RFC 3339 time (the release that was live then). The destination's
    blobs are read and verified first. The replaced release is marked bad, unless `mark_bad` is off or the destination
    was marked bad itself: such a rollback undoes an earlier one, and the destination's mark is removed. Automation is
    held until good data newer than the replaced release exists, or until `until`. Without `hold` it is not held.

    Raises `RefusedError` with alternatives if the destination does not exist or cannot be served, and
    `ConflictError` if another release became live in the meantime.
    """
    change = PointerChange(store, target, ROLL_BACK, by, now)
    left = read_current(store, target)
    if left is None:
        raise RefusedError(f"{target}: nothing is live: put the pointer back by `recsys-assets restore-pointer`")
    request = _RollbackRequest(change, left, to, hold, until, mark_bad, unless)
    if dry_run:
        plan = _resolve(request)
        _verify(plan)
        nothing = plan.to.id == left.release_id
        message = _live_already(plan) if nothing else _message(plan)
        return RollbackOutcome(left.release_id, plan.to.id, None if nothing else plan.hold, f"dry run: {message}", None)
    ensure_proven(store)
    head = recover(store, target, left, by=by, now=now())
    last = head.change
    if to == PREVIOUS and last is not None and _was_interrupted(change, last):
        return RollbackOutcome(last.before or "", left.release_id, None, _DONE_BEFORE, last)
    try:
        return _roll_back(_resolve(replace(request, head=head)), head)
    except (RefusedError, ConflictError) as error:
        _record_refusal(change, left, error)
        raise


def _was_interrupted(change: PointerChange, last: JournalEntry) -> bool:
    """Return whether the newest swap is this rollback, interrupted: a rerun must not go back twice.

    A completed rollback has removed its intent, so removing the intent completes this one.
    """
    by, intent = change.by, last.details.get("intent")
    if (last.action, last.actor, last.reason) != (ROLL_BACK, by.name, by.reason) or not isinstance(intent, str):
        return False
    key = intent_key(change.target, intent)
    if change.store.stat(key) is None:
        return False
    change.store.delete(key)
    return True


def _resolve(request: _RollbackRequest) -> _RollbackPlan:
    """Return the rollback with its destination and its hold."""
    store, target = request.change.store, request.change.target
    _check(target, request.unless)
    newest = request.head.last if request.head else None
    release = choose_destination(store, target, request.left, to=request.to, now=request.change.now(), newest=newest)
    taken_back = request.to != PREVIOUS and find_label(store, target, Labelled.BAD, release.id) is not None
    hold = _hold(request) if request.hold else None
    return _RollbackPlan(request.change, request.left, release, hold, request.mark_bad, request.unless, taken_back)


def _check(target: Target, unless: Unless) -> None:
    reason = unless()
    if reason:
        raise RefusedError(f"{target}: {reason}")


def _verify(plan: _RollbackPlan) -> None:
    """Verify every blob of the destination. Raises `RefusedError` with alternatives if one cannot be served."""
    if plan.to.id == plan.left.release_id:
        return
    store, target = plan.change.store, plan.change.target
    try:
        prove_members(store, target, plan.to.members)
    except RefusedError as error:
        others = alternatives(store, target, exclude=plan.to.id)
        raise RefusedError(f"{error}; possible destinations: {others}") from error


def _hold(request: _RollbackRequest) -> Hold:
    """Return the hold to place. Without `until` and the data day of the replaced release, only a person can lift it."""
    change, until = request.change, request.until
    at = rfc3339(change.now())
    if until is not None:
        return Hold(at=at, actor=change.by.name, reason=change.by.reason, until=rfc3339(until))
    return Hold(at=at, actor=change.by.name, reason=change.by.reason, after_data=_data_through(request))


def _data_through(request: _RollbackRequest) -> str | None:
    """Return the last data day of the replaced release, from its journal entry or its record, or None if unknown."""
    entry = request.head.change if request.head else None
    if entry is not None and entry.after == request.left.release_id:
        with suppress(ValueError):
            return date.fromisoformat(str(entry.details.get("data_through"))).isoformat()
    try:
        release = find_release(request.change.store, request.change.target, request.left.release_id)
    except RecsysAssetsError:
        return None  # an unreadable record must not block a rollback from its release
    return release.data_through if release else None


def _roll_back(plan: _RollbackPlan, head: JournalHead) -> RollbackOutcome:
    """Verify, mark, hold, then swap. A crash in between leaves the old release live and held, and a rerun goes on."""
    change = plan.change
    with announced(change, release_id=plan.to.id, refs=refs_of(plan.to)) as change:
        is_clear = False
        if plan.to.id != plan.left.release_id:
            is_clear = is_clear_of_collections(change, refs_of(plan.to))
            _verify(plan)
            plan = _mark_and_hold(plan, mark=plan.mark_bad and not plan.taken_back)
        seen = PointerBasis(plan.left, head) if is_clear else None
        entry = change_pointer(change, lambda current, _: _judge(plan, current), seen=seen)
        if plan.taken_back:
            _lift_bad(plan)
    return RollbackOutcome(plan.left.release_id, plan.to.id, plan.hold, message_of(entry), entry)


def _lift_bad(plan: _RollbackPlan) -> None:
    """Remove the bad mark from the release that is now live. A failure is logged and does not undo the rollback."""
    try:
        lift_label(plan.change.store, plan.change.target, Labelled.BAD, plan.to.id)
    except RecsysAssetsError as error:
        _LOGGER.warning(
            "rollback.bad_mark_left release=%s error=%s: remove the mark by `recsys-assets unmark`",
            plan.to.id[:12],
            error,
        )


def _mark_and_hold(plan: _RollbackPlan, *, mark: bool) -> _RollbackPlan:
    store, target, by = plan.change.store, plan.change.target, plan.change.by
    if mark:
        put_label(store, target, Labelled.BAD, plan.left.release_id, by=by, now=plan.change.now())
    reach(f"{ROLL_BACK}.after_mark")
    if plan.hold is not None:
        plan = replace(plan, hold=write_hold(store, target, plan.hold))
    reach(f"{ROLL_BACK}.after_hold")
    return plan


def _judge(plan: _RollbackPlan, current: LivePointer | None) -> MovePointer | KeepPointer:
    """Decide on the pointer that is replaced. Fails if the live release changed since the request was resolved."""
    if current is not None and current.release_id == plan.to.id:
        return KeepPointer(journal.UNCHANGED, _live_already(plan))
    if current is None or current.release_id != plan.left.release_id:
        raise ConflictError(
            f"{plan.change.target}: {plan.left.release_id[:12]} was live when this rollback began, but no longer is: "
            "check `recsys-assets status`, then decide again"
        )
    _check(plan.change.target, plan.unless)
    return MovePointer(versions_of(plan.to), refs_of(plan.to), _message(plan), {"data_through": plan.to.data_through})


def _message(plan: _RollbackPlan) -> str:
    held = f"held until {ending(plan.hold)}" if plan.hold else "not held"
    moved = f"from release {plan.left.release_id[:12]} back to {plan.to.id[:12]}"
    since = forgotten_since(plan.change.store, plan.change.target, plan.to.recorded_at)
    again = (
        f"; it may contain {plural(since, 'user')} forgotten since: run `recsys-assets forget` for them again"
        if since
        else ""
    )
    return f"{moved}, data through {plan.to.data_through}, {held}{again}"


def _live_already(plan: _RollbackPlan) -> str:
    return f"release {plan.to.id[:12]} is already live"


def _record_refusal(change: PointerChange, left: LivePointer, refusal: RecsysAssetsError) -> None:
    try:
        entry = journal.entry_of(
            action=ROLL_BACK, outcome=journal.REFUSED, by=change.by, now=change.now(), live=left, message=str(refusal)
        )
        journal.append(change.store, change.target, entry, after=journal.tail(change.store, change.target))
    except RecsysAssetsError as error:
        refusal.add_note(f"the journal entry of this refusal could not be written: {error}")
