"""Transitions of a staged rollout: start next to the live release, advance by shares, promote by a swap, or abort."""

from collections.abc import Mapping
from typing import Final

import msgspec

from recsys_assets.errors import ConflictError, RefusedError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import KeepPointer, MovePointer, PointerChange, announced, change_pointer
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.fault_points import reach
from recsys_assets.release.forgotten_users import forgotten_since
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.labels import Labelled, find_label, put_label
from recsys_assets.release.layout import candidate_key
from recsys_assets.release.pointer import LivePointer, make_pointer, read_current
from recsys_assets.release.recovery import JournalHead
from recsys_assets.release.releases import find_release, read_release, refs_of, versions_of
from recsys_assets.release.rollout import (
    ABORT,
    PROMOTE,
    WHOLE,
    Plan,
    Rollout,
    RolloutState,
    done_by,
    end_rollout,
    find_rollout,
    finish,
    read_rollout,
    record_rollout,
    write_rollout,
)
from recsys_assets.release.shards import prove_members
from recsys_assets.release.ship_rules import LiveBaseline, Ruling, is_in_force, judge
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore, StoredObject

START: Final = "start_rollout"
ADVANCE: Final = "advance_rollout"


class TransitionOutcome(msgspec.Struct, frozen=True):
    """Outcome of a transition: the rollout afterwards, and the journal entry (None: no transition or dry run)."""

    message: str
    rollout: Rollout
    entry: JournalEntry | None


def start(
    change: PointerChange, release: Release, versions: Mapping[str, str], plan: Plan, current: LivePointer
) -> KeepPointer:
    """Start serving an announced and verified release to the first share of requests, next to the live release.

    The candidate pointer is written first, then the rollout document, which readers follow. A rollout of another
    release is replaced. Raises `ConflictError` and ends the rollout if a hold was placed in the meantime.
    """
    store, target = change.store, change.target
    stored = read_rollout(store, target)
    if stored is not None and stored[0].release == release.id and stored[0].is_in_force(current.release_id):
        return KeepPointer(Ruling.UNCHANGED, f"release {release.id[:12]} is being rolled out, at {stored[0].share} %")
    pointer = make_pointer(store.uri_roots[0], target, versions, now=change.now(), after=None)
    store.put(candidate_key(target), encode(pointer))
    reach("rollout.after_candidate")
    at = rfc3339(change.now())
    begun = Rollout(
        release=release.id,
        against=current.release_id,
        state=RolloutState.RUNNING,
        step=0,
        steps=plan.steps,
        bake_minutes=plan.bake_minutes,
        started_at=at,
        step_at=at,
        updated_at=at,
        action=START,
        actor=change.by.name,
        reason=change.by.reason,
        run_id=change.by.run_id,
    )
    begun = write_rollout(store, target, begun, stored, now=change.now())
    reach("rollout.after_start")
    hold = read_hold(store, target)
    if hold is not None and is_in_force(hold, data_through=release.data_through, now=change.now()):
        end_rollout(store, target, why=f"held by {hold.actor} in the meantime", by=change.by, now=change.now)
        raise ConflictError(f"{target}: held by {hold.actor} while the rollout started, so it was ended: run again")
    gave_way = f" in place of {stored[0].release[:12]}" if stored and stored[0].is_in_force(current.release_id) else ""
    details = {"rollout_at": begun.updated_at, "share": begun.share, "release": release.id}
    message = f"release {release.id[:12]} is served to {begun.share} % of requests{gave_way}; the live release stays"
    return KeepPointer(Ruling.ROLLOUT, message, details)


def advance(
    store: ObjectStore,
    target: Target,
    *,
    by: Actor,
    now: Clock,
    from_step: int | None = None,
    why: str = "",
    dry_run: bool = False,
) -> TransitionOutcome:
    """Move a rollout to its next step. The last step makes the candidate live.

    `from_step` is the step that the decision was based on: no-op if the rollout has moved on. A promotion verifies
    every blob again and swaps the pointer. Raises `RefusedError` if no rollout is in force, or if the release must not
    ship (a hold, a bad mark, a user forgotten since). The rollout is then aborted.
    """
    rollout, stored = _require(store, target)
    following = rollout.step + 1
    if rollout.state is RolloutState.RUNNING and from_step not in {None, rollout.step}:
        return TransitionOutcome(f"the rollout is already at {rollout.share} %", rollout, None)
    is_last = rollout.state is RolloutState.PROMOTING or rollout.steps[following:] == (WHOLE,)
    planned = "would become live" if is_last else f"would be served to {rollout.steps[following]} % of requests"
    if dry_run:
        return TransitionOutcome(f"dry run: release {rollout.release[:12]} {planned}", rollout, None)
    ensure_proven(store)
    record_rollout(store, target, rollout, now=now)
    if is_last:
        return _promote(store, target, rollout, stored, by=by, now=now, reason=why)
    at = rfc3339(now())
    moved = done_by(msgspec.structs.replace(rollout, step=following, step_at=at), ADVANCE, by, why)
    moved = write_rollout(store, target, moved, (rollout, stored), now=now())
    reach("advance.after_step")
    entry = record_rollout(store, target, moved, now=now)
    return TransitionOutcome(f"release {moved.release[:12]} is served to {moved.share} % of requests", moved, entry)


def _promote(
    store: ObjectStore, target: Target, rollout: Rollout, stored: StoredObject, *, by: Actor, now: Clock, reason: str
) -> TransitionOutcome:
    if rollout.state is RolloutState.RUNNING:
        decided = done_by(msgspec.structs.replace(rollout, state=RolloutState.PROMOTING), PROMOTE, by, reason)
        rollout = write_rollout(store, target, decided, (rollout, stored), now=now())
    reach("promote.after_decision")
    release = read_release(store, target, rollout.release)
    refs = refs_of(release)
    try:
        with announced(PointerChange(store, target, PROMOTE, by, now), release_id=release.id, refs=refs) as change:
            prove_members(store, target, release.members)
            entry = change_pointer(change, lambda current, head: _judge(change, rollout, release, current, head))
    except RefusedError as error:
        end_rollout(store, target, why=str(error), by=by, now=now)
        raise
    reach("promote.after_promotion")
    done = finish(store, target, RolloutState.PROMOTED, PROMOTE, by, reason, now=now, of=rollout)
    return TransitionOutcome(journal.message_of(entry), done, entry)


def _judge(
    change: PointerChange, rollout: Rollout, release: Release, current: LivePointer | None, _: JournalHead
) -> MovePointer | KeepPointer:
    """Apply the ship rules to a promotion, on the pointer that it replaces."""
    store, target = change.store, change.target
    short = release.id[:12]
    if current is not None and current.release_id == release.id:
        return KeepPointer(journal.UNCHANGED, f"release {short} is already live")
    if current is None or current.release_id != rollout.against:
        raise RefusedError(f"{target}: {rollout.against[:12]}, next to which {short} was rolled out, is no longer live")
    if forgotten_since(store, target, release.recorded_at):
        raise RefusedError(f"{target}: a user was forgotten since release {short} was built: build its day again")
    live = find_release(store, target, current.release_id)
    judgement = judge(
        release,
        live=LiveBaseline(current.release_id, live.data_through if live else ""),
        hold=read_hold(store, target),
        bad=find_label(store, target, Labelled.BAD, release.id),
        now=change.now(),
        allow_older=True,  # compared with this live release when the rollout started
    )
    if judgement.ruling is not Ruling.SHIP:
        raise RefusedError(f"{target}: {judgement.message}")
    details = {"rollout_at": rollout.updated_at, "release": release.id, "data_through": release.data_through}
    return MovePointer(versions_of(release), refs_of(release), judgement.message, details)


def abort(
    store: ObjectStore,
    target: Target,
    *,
    by: Actor,
    now: Clock,
    why: str = "",
    mark_bad: bool = True,
    dry_run: bool = False,
) -> TransitionOutcome:
    """Abort a rollout: readers serve only the live release from their next poll on. The candidate is marked bad.

    Raises `RefusedError` if no rollout is in force, or if it is being promoted: roll back then.
    """
    rollout, _ = _require(store, target)
    if rollout.state is RolloutState.PROMOTING:
        raise RefusedError(
            f"{target}: release {rollout.release[:12]} is being promoted: finish it by `advance`, or roll back"
        )
    message = f"release {rollout.release[:12]} is no longer served; {rollout.against[:12]} stays live"
    if dry_run:
        return TransitionOutcome(f"dry run: {message}", rollout, None)
    ensure_proven(store)
    record_rollout(store, target, rollout, now=now)
    if mark_bad:
        marked_by = Actor(by.name, f"{by.reason}: {why}" if why else by.reason, by.run_id)
        put_label(store, target, Labelled.BAD, rollout.release, by=marked_by, now=now())
    reach("abort.after_mark")
    ended = finish(store, target, RolloutState.ABORTED, ABORT, by, why, now=now, of=rollout)
    reach("abort.after_end")
    return TransitionOutcome(message, ended, record_rollout(store, target, ended, now=now))


def settle(store: ObjectStore, target: Target, *, by: Actor, now: Clock) -> Rollout | None:
    """Return the rollout after completing what a crash left undone: its journal entry, and its final state."""
    rollout = find_rollout(store, target)
    if rollout is None:
        return None
    record_rollout(store, target, rollout, now=now)
    if not rollout.is_under_way:
        return rollout
    current = read_current(store, target)
    live = current.release_id if current else None
    if live == rollout.release:
        return finish(store, target, RolloutState.PROMOTED, PROMOTE, by, rollout.why, now=now, of=rollout)
    if live != rollout.against:
        end_rollout(store, target, why=f"{rollout.against[:12]} is no longer live", by=by, now=now)
        return find_rollout(store, target)
    return rollout


def _require(store: ObjectStore, target: Target) -> tuple[Rollout, StoredObject]:
    stored = read_rollout(store, target)
    current = read_current(store, target)
    live = current.release_id if current else None
    if stored is None or not (stored[0].is_in_force(live) or _is_half_promoted(stored[0], live)):
        raise RefusedError(f"{target}: no release is being rolled out: see `recsys-assets rollout status`")
    return stored


def _is_half_promoted(rollout: Rollout, live: str | None) -> bool:
    return rollout.state is RolloutState.PROMOTING and live == rollout.release
