"""Staged rollout: start beside what is live, advance by shares, promote by the swap of every ship, or abort."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class TransitionOutcome:
    """What became of it: in words, the rollout as it stands, and the journal's entry (None: dry run)."""

    message: str
    rollout: Rollout
    entry: JournalEntry | None


def start(
    change: PointerChange, release: Release, versions: Mapping[str, str], plan: Plan, current: LivePointer
) -> KeepPointer:
    """Show a release to the first share of requests, beside what is live; it must be announced and proven.

    The candidate pointer is written first, then the rollout, whose swap is what readers follow. Another release that is
    being rolled out gives way. Under a hold that came meanwhile it ends at once.
    """
    store, target = change.store, change.target
    found = read_rollout(store, target)
    if found is not None and found[0].release == release.id and found[0].is_in_force(current.release_id):
        return KeepPointer(Ruling.UNCHANGED, f"release {release.id[:12]} is being rolled out, at {found[0].share} %")
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
    begun = write_rollout(store, target, begun, found, now=change.now())
    reach("rollout.after_start")
    hold = read_hold(store, target)
    if hold is not None and is_in_force(hold, data_through=release.data_through, now=change.now()):
        end_rollout(store, target, why=f"held by {hold.actor} meanwhile", by=change.by, now=change.now)
        raise ConflictError(f"{target}: held by {hold.actor} while the rollout began, so it ended: run again")
    gave_way = f" in place of {found[0].release[:12]}" if found and found[0].is_in_force(current.release_id) else ""
    details = {"rollout_at": begun.updated_at, "share": begun.share, "release": release.id}
    message = f"release {release.id[:12]} is shown to {begun.share} % of requests{gave_way}; live stays"
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
    """Take a rollout to its next step, or make the candidate live where that is the last.

    `from_step` is the step that was decided on: where another was faster, nothing happens. Promotion proves every blob
    again, and is a compare-and-swap of the pointer. Raises `RefusedError` if no rollout is in force, or if the release
    may not ship (a hold, a bad mark, a user forgotten since): then the rollout is aborted.
    """
    rollout, stored = _require(store, target)
    following = rollout.step + 1
    if rollout.state is RolloutState.RUNNING and from_step not in {None, rollout.step}:
        return TransitionOutcome(f"the rollout is at {rollout.share} % already", rollout, None)
    is_last = rollout.state is RolloutState.PROMOTING or rollout.steps[following:] == (WHOLE,)
    goes = "would become live" if is_last else f"would be shown to {rollout.steps[following]} % of requests"
    if dry_run:
        return TransitionOutcome(f"dry run: release {rollout.release[:12]} {goes}", rollout, None)
    ensure_proven(store)
    record_rollout(store, target, rollout, now=now)
    if is_last:
        return _promote(store, target, rollout, stored, by=by, now=now, why=why)
    at = rfc3339(now())
    moved = done_by(msgspec.structs.replace(rollout, step=following, step_at=at), ADVANCE, by, why)
    moved = write_rollout(store, target, moved, (rollout, stored), now=now())
    reach("advance.after_step")
    entry = record_rollout(store, target, moved, now=now)
    return TransitionOutcome(f"release {moved.release[:12]} is shown to {moved.share} % of requests", moved, entry)


def _promote(
    store: ObjectStore, target: Target, rollout: Rollout, stored: StoredObject, *, by: Actor, now: Clock, why: str
) -> TransitionOutcome:
    if rollout.state is RolloutState.RUNNING:
        decided = done_by(msgspec.structs.replace(rollout, state=RolloutState.PROMOTING), PROMOTE, by, why)
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
    done = finish(store, target, RolloutState.PROMOTED, PROMOTE, by, why, now=now, of=rollout)
    return TransitionOutcome(journal.message_of(entry), done, entry)


def _judge(
    change: PointerChange, rollout: Rollout, release: Release, current: LivePointer | None, _: JournalHead
) -> MovePointer | KeepPointer:
    """Judge a promotion on the very pointer that it replaces, by the rules of every ship."""
    store, target = change.store, change.target
    short = release.id[:12]
    if current is not None and current.release_id == release.id:
        return KeepPointer(journal.UNCHANGED, f"release {short} is live already")
    if current is None or current.release_id != rollout.against:
        raise RefusedError(f"{target}: {rollout.against[:12]} is live no more, beside which {short} was rolled out")
    if forgotten_since(store, target, release.recorded_at):
        raise RefusedError(f"{target}: a user was forgotten since release {short} was built: build its day again")
    live = find_release(store, target, current.release_id)
    judgement = judge(
        release,
        live=LiveBaseline(current.release_id, live.data_through if live else ""),
        hold=read_hold(store, target),
        bad=find_label(store, target, Labelled.BAD, release.id),
        now=change.now(),
        allow_older=True,  # it was judged against this very live release when it began
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
    """End a rollout: from their next poll on readers answer from what is live alone; the release is marked bad.

    Raises `RefusedError` if none is in force, or if it is being promoted: roll back then.
    """
    rollout, _ = _require(store, target)
    if rollout.state is RolloutState.PROMOTING:
        raise RefusedError(
            f"{target}: release {rollout.release[:12]} is being promoted: finish by `advance`, or roll back"
        )
    message = f"release {rollout.release[:12]} is shown to nobody any more; {rollout.against[:12]} stays live"
    if dry_run:
        return TransitionOutcome(f"dry run: {message}", rollout, None)
    ensure_proven(store)
    record_rollout(store, target, rollout, now=now)
    if mark_bad:
        said = Actor(by.name, f"{by.reason}: {why}" if why else by.reason, by.run_id)
        put_label(store, target, Labelled.BAD, rollout.release, by=said, now=now())
    reach("abort.after_mark")
    ended = finish(store, target, RolloutState.ABORTED, ABORT, by, why, now=now, of=rollout)
    reach("abort.after_end")
    return TransitionOutcome(message, ended, record_rollout(store, target, ended, now=now))


def settle(store: ObjectStore, target: Target, *, by: Actor, now: Clock) -> Rollout | None:
    """Return the rollout after writing down what a crash left open: its journal entry, and that it is over."""
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
        end_rollout(store, target, why=f"{rollout.against[:12]} is live no more", by=by, now=now)
        return find_rollout(store, target)
    return rollout


def _require(store: ObjectStore, target: Target) -> tuple[Rollout, StoredObject]:
    found = read_rollout(store, target)
    current = read_current(store, target)
    live = current.release_id if current else None
    if found is None or not (found[0].is_in_force(live) or _is_half_promoted(found[0], live)):
        raise RefusedError(f"{target}: no release is being rolled out: see `recsys-assets rollout status`")
    return found


def _is_half_promoted(rollout: Rollout, live: str | None) -> bool:
    return rollout.state is RolloutState.PROMOTING and live == rollout.release
