"""Rollout of a candidate next to the live release: its document, its conditional writes, and its journal entries."""

from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from recsys_assets.errors import ConflictError, CorruptObjectError, OutcomeUnknownError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.document_encoding import decode, encode, find_stored
from recsys_assets.release.documents import FORMAT, JournalEntry, Record
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import rollout_key
from recsys_assets.release.pointer import LivePointer, read_pointer
from recsys_assets.release.recovery import recover
from recsys_assets.retry import attempts
from recsys_assets.storage.store import ObjectStore, StoredObject

PROMOTE: Final = "promote"
ABORT: Final = "abort_rollout"
WHOLE: Final = 100  # percent: the step that is the promotion
_TRIES: Final = 20
_LOOKED_AT: Final = 50  # newest journal entries, in search of the entry of a step
_TICK: Final = timedelta(microseconds=1)


class RolloutState(StrEnum):
    """State of a rollout. `promoted` and `aborted` are final."""

    RUNNING = "running"
    PROMOTING = "promoting"  # decided: the pointer is being moved, abort is no longer possible
    PROMOTED = "promoted"
    ABORTED = "aborted"


class Rollout(Record, frozen=True):
    """Rollout of `release` next to the live release `against`, with its step and its last action.

    It is in force only while `against` is live: any other release that becomes live (a rollback, a manual ship) ends it
    by the same swap.
    """

    release: str
    against: str
    state: RolloutState
    step: int
    steps: tuple[int, ...]  # percent of requests, ascending, the last is 100
    bake_minutes: float
    started_at: str
    step_at: str
    updated_at: str  # never repeats
    action: str  # The last action. Its journal entry contains `updated_at`.
    actor: str
    reason: str
    why: str = ""
    run_id: str | None = None
    v: int = FORMAT

    def __post_init__(self) -> None:
        """Reject invalid steps and timestamps."""
        for text in (self.started_at, self.step_at, self.updated_at):
            parse_rfc3339(text)
        ascending = all(share < other for share, other in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not ascending or self.steps[0] < 1 or self.steps[-1] != WHOLE:
            raise ValueError(f"steps are {self.steps}: expected ascending percentages that end with {WHOLE}")
        if not 0 <= self.step < len(self.steps):
            raise ValueError(f"step is {self.step}: expected one of {len(self.steps)}")

    @property
    def share(self) -> int:
        """Percent of requests that the candidate serves."""
        return self.steps[self.step]

    def is_in_force(self, live: str | None) -> bool:
        """Return whether the candidate serves requests while `live` is the live release."""
        return self.is_under_way and live == self.against

    @property
    def is_under_way(self) -> bool:
        """Whether the rollout is neither promoted nor aborted."""
        return self.state in {RolloutState.RUNNING, RolloutState.PROMOTING}

    def is_baked(self, now: datetime) -> bool:
        """Return whether the step has lasted at least `bake_minutes`."""
        return now - parse_rfc3339(self.step_at) >= timedelta(minutes=self.bake_minutes)


class Plan(msgspec.Struct, frozen=True):
    """Plan of a rollout: shares of requests in percent, and the minimum minutes of each step."""

    steps: tuple[int, ...]
    bake_minutes: float


def parse_rollout(target: Target, data: bytes) -> Rollout:
    """Decode the rollout of a target. Raises `CorruptObjectError` for invalid bytes."""
    return decode(data, Rollout, name=rollout_key(target))


def find_rollout(store: ObjectStore, target: Target) -> Rollout | None:
    """Return the last rollout of a target, finished or not, or None if there never was one."""
    stored = find_stored(store, rollout_key(target))
    return None if stored is None else parse_rollout(target, stored.data)


def rolling_release(store: ObjectStore, target: Target, *, live: str) -> str | None:
    """Return the id of the release that is being rolled out next to the live one, or None."""
    rollout = find_rollout(store, target)
    return rollout.release if rollout is not None and rollout.is_in_force(live) else None


def end_rollout(store: ObjectStore, target: Target, *, why: str, by: Actor, now: Clock, of: str | None = None) -> None:
    """End the rollout under way (`of`: only if it is of this release), without marking the release bad.

    Called by actions that exclude a rollout, such as a hold. A concurrent step loses. Readers ignore an unreadable
    document, so there is nothing to end then. Raises `ConflictError` if other writers kept changing the rollout.
    """
    for _ in attempts(_TRIES):
        try:
            stored = find_rollout(store, target)
            if stored is None or of not in {None, stored.release} or not stored.is_under_way:
                return
            ended = finish(store, target, RolloutState.ABORTED, ABORT, by, why, now=now, of=stored)
        except CorruptObjectError:
            return
        except ConflictError:
            continue
        record_rollout(store, target, ended, now=now)
        return
    raise ConflictError(
        f"{target}: the rollout could not be ended because it was changed {_TRIES} times concurrently: run again"
    )


def end_stale_rollout(store: ObjectStore, target: Target, *, live: str, by: Actor, now: Clock) -> None:
    """End a rollout whose `against` is not live, before that release may become live again.

    Such a rollout is not in force, but would continue from its step once `against` is live again, even under a hold.
    """
    with suppress(CorruptObjectError):
        stored = find_rollout(store, target)
        if stored is None or not stored.is_under_way or live == stored.against:
            return
        if live == stored.release:  # promoted, or shipped at once
            finish(store, target, RolloutState.PROMOTED, PROMOTE, by, stored.why, now=now, of=stored)
        else:
            end_rollout(
                store, target, why=f"{stored.against[:12]} is no longer live", by=by, now=now, of=stored.release
            )


def finish(
    store: ObjectStore,
    target: Target,
    state: RolloutState,
    action: str,
    by: Actor,
    reason: str,
    *,
    now: Clock,
    of: Rollout,
) -> Rollout:
    """Write the final state of a rollout, unless it is final. Raises `ConflictError` if it was replaced or promoted."""
    stored = read_rollout(store, target)
    if stored is None or (stored[0].release, stored[0].started_at) != (of.release, of.started_at):
        raise ConflictError(f"{target}: another rollout replaced the one of {of.release[:12]}: see `rollout status`")
    if not stored[0].is_under_way:
        return stored[0]
    if stored[0].state is RolloutState.PROMOTING and of.state is RolloutState.RUNNING:
        raise ConflictError(f"{target}: release {of.release[:12]} was promoted concurrently: roll back instead")
    return write_rollout(
        store, target, done_by(msgspec.structs.replace(stored[0], state=state), action, by, reason), stored, now=now()
    )


def done_by(rollout: Rollout, action: str, by: Actor, reason: str) -> Rollout:
    """Return the rollout with its last action, actor and reason."""
    return msgspec.structs.replace(
        rollout,
        action=action,
        actor=by.name,
        reason=by.reason,
        run_id=by.run_id,
        why=reason[: journal.MAX_MESSAGE_CHARACTERS],
    )


def write_rollout(
    store: ObjectStore, target: Target, rollout: Rollout, before: tuple[Rollout, StoredObject] | None, *, now: datetime
) -> Rollout:
    """Replace the rollout `before` (None: create it). A lost reply is resolved by reading back.

    Raises `ConflictError` if the rollout was changed concurrently.
    """
    key = rollout_key(target)
    at = now if before is None else max(now, parse_rfc3339(before[0].updated_at) + _TICK)
    rollout = msgspec.structs.replace(rollout, updated_at=rfc3339(at))
    data = encode(rollout)
    try:
        if before is None:
            store.create(key, data)
        else:
            store.swap(key, data, expected=before[1].etag)
    except (ConflictError, OutcomeUnknownError) as error:
        for _ in attempts(_TRIES):
            try:
                stored = find_stored(store, rollout_key(target))
            except OutcomeUnknownError:
                continue
            if stored is not None and stored.data == data:
                return rollout
            break
        raise ConflictError(f"{target}: the rollout was changed concurrently: check it and retry") from error
    return rollout


def record_rollout(store: ObjectStore, target: Target, rollout: Rollout, *, now: Clock) -> JournalEntry:
    """Return the journal entry of the last action. Writes it if a crash left none."""
    pointer = read_pointer(store, target)
    current = (
        pointer if isinstance(pointer, LivePointer) else None
    )  # a damaged pointer must not block the end of a rollout
    by = Actor(rollout.actor, rollout.reason, rollout.run_id)
    last = recover(store, target, current, by=by, now=now()).last
    for entry in islice(journal.newest_first(store, target), _LOOKED_AT):
        if entry.details.get("rollout_at") == rollout.updated_at:
            return entry
        if entry.at and parse_rfc3339(entry.at) + timedelta(minutes=1) < parse_rfc3339(rollout.updated_at):
            break
    details = {
        "rollout_at": rollout.updated_at,
        "share": rollout.share,
        "release": rollout.release,
        "state": rollout.state.value,
    }
    entry = journal.entry_of(
        action=rollout.action,
        outcome=journal.DONE,
        by=by,
        now=now(),
        live=current,
        message=rollout.why or f"release {rollout.release[:12]}: {rollout.state.value} at {rollout.share} %",
        details=details,
    )
    return journal.append(store, target, entry, after=last)


def read_rollout(store: ObjectStore, target: Target) -> tuple[Rollout, StoredObject] | None:
    """Return the last rollout with the stored object that a step replaces, or None if there never was one."""
    stored = find_stored(store, rollout_key(target))
    return None if stored is None else (parse_rollout(target, stored.data), stored)
