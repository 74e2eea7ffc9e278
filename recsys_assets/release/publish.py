"""Publish: verify the stored bytes of a day's staged artifacts, record them as a release, and move the pointer last."""

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec
from msgspec.structs import replace

from recsys_assets.errors import ConflictError, CorruptObjectError, RecsysAssetsError, RefusedError
from recsys_assets.evidence import LEFT_OUT, OVERRIDDEN
from recsys_assets.identity import Target
from recsys_assets.release import journal
from recsys_assets.release.candidate import Candidate, Requirement, check_forgotten, read_candidate
from recsys_assets.release.change import (
    KeepPointer,
    MovePointer,
    PointerBasis,
    PointerChange,
    announced,
    change_pointer,
    is_clear_of_collections,
    look,
)
from recsys_assets.release.documents import Build, JournalEntry, Release
from recsys_assets.release.fault_points import reach
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import Actor, Clock, message_of
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, read_journal_head, recover
from recsys_assets.release.releases import data_through_of, find_release, is_former, record, release_of
from recsys_assets.release.rollout import Plan, end_rollout
from recsys_assets.release.rollout_transitions import start
from recsys_assets.release.shards import missing_blobs, prove_members
from recsys_assets.release.ship_rules import Judgement, LiveBaseline, Ruling, judge
from recsys_assets.release.trash import restore_from_trash
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore, overlapped

SHIP = "ship"


class PublishOutcome(msgspec.Struct, frozen=True):
    """Outcome of a publish: ruling, release, id of the release live afterwards, and journal entry (None: dry run)."""

    how: Ruling
    release: Release
    live: str | None
    message: str
    entry: JournalEntry | None

    @property
    def exit_code(self) -> int:
        """Exit code 1 if a hold or newer live data blocked the ship: the person who ships has to decide."""
        return int(self.entry is not None and self.how in {Ruling.HELD, Ruling.OLDER})


class _Publish(msgspec.Struct, frozen=True):
    """A publish as requested: the change, the candidate, and the build that the release records."""

    change: PointerChange
    candidate: Candidate
    build: Build
    allow_older: bool
    evidence: ObjectStore
    plan: Plan | None = None


def publish(  # noqa: PLR0913 - independent inputs of a publish
    store: ObjectStore,
    target: Target,
    day: date,
    *,
    kinds: Sequence[str],
    requirements: Mapping[str, Requirement],
    build: Build,
    by: Actor,
    now: Clock,
    allow_older: bool = False,
    dry_run: bool = False,
    evidence: ObjectStore | None = None,
    pause: Pause = wait,
    plan: Plan | None = None,
) -> PublishOutcome:
    """Ship the staged artifacts of a day if the ship rules allow it. Otherwise the live release stays live.

    `evidence` contains staged artifacts, canonical records, gate reports and the record of the live release. By default
    it is the store itself. Blobs, pointer, hold, labels and journal are always read from the store.

    With a `plan`, a release that would replace a live one is first served to a share of requests (see `start`).

    A release that is already live, older than the live data, or held is an outcome, not an error. Raises `RefusedError`
    (journaled) if a gate, a blob or a bad mark forbids the ship, and `ConflictError` if other writers won every
    attempt: run again.
    """
    change = PointerChange(store, target, SHIP, by, now, pause=pause)
    evidence = evidence or store
    if dry_run:
        candidate = read_candidate(evidence, target, day, kinds=kinds, requirements=requirements)
        return _rehearse(_Publish(change, candidate, build, allow_older, evidence))
    with overlapped(store) as beside:
        proven = beside.start(ensure_proven, store)
        candidate = beside.start(read_candidate, evidence, target, day, kinds=kinds, requirements=requirements)
        current = beside.start(read_current, store, target)
        proven()
        try:
            return _publish(_Publish(change, candidate(), build, allow_older, evidence, plan), current())
        except (RefusedError, CorruptObjectError, ConflictError) as error:
            _record_refusal(change, day, error)
            error.journaled = True
            raise


def _publish(request: _Publish, current: LivePointer | None) -> PublishOutcome:
    """Announce, verify, record, then swap the pointer if the ship rules allow it."""
    change, candidate = request.change, request.candidate
    store, target = change.store, change.target
    reach("ship.after_read")
    release = release_of(
        target, candidate, build=request.build, now=change.now(), parent=current.release_id if current else None
    )
    seen = None
    if (
        current is not None and current.release_id != release.id
    ):  # otherwise the pointer stays, or this is the first one
        seen = PointerBasis(current, recover(store, target, current, by=change.by, now=change.now()))
    with announced(change, release_id=release.id, refs=candidate.refs) as change:
        seen = seen if seen and is_clear_of_collections(change, candidate.refs) else None
        _verify(store, target, candidate)  # after the intent, from which on collection keeps the blobs
        reach("ship.after_proof")
        release = record(store, target, release)
        reach("ship.after_record")
        entry = change_pointer(change, lambda live, head: _judge(request, change, release, live, head), seen=seen)
    reach("ship.after_all")
    how = Ruling.SHIP if entry.changed else Ruling(entry.outcome)  # another process may have recorded our swap
    return PublishOutcome(how, release, entry.after, message_of(entry), entry)


def _verify(store: ObjectStore, target: Target, candidate: Candidate) -> None:
    """Verify the stored bytes of every blob, after restoring missing ones from the trash."""
    try:
        prove_members(store, target, candidate.members)
    except RefusedError:
        restore_from_trash(store, target, missing_blobs(store, target, candidate.refs))
        prove_members(store, target, candidate.members)


def _judge(
    request: _Publish, change: PointerChange, release: Release, current: LivePointer | None, head: JournalHead
) -> MovePointer | KeepPointer:
    with overlapped(request.change.store) as beside:
        forgotten_check = beside.start(check_forgotten, request.change.store, request.change.target, request.candidate)
        judging = beside.start(_judgement, request, release, current, head)
        forgotten_check()
        judgement = judging()
    details = {"day": request.candidate.day.isoformat(), "release": release.id, "data_through": release.data_through}
    if request.candidate.left_out:
        details[LEFT_OUT] = "; ".join(f"{kind}: {reason}" for kind, reason in request.candidate.left_out.items())
    if request.candidate.overridden:
        details[OVERRIDDEN] = "; ".join(request.candidate.overridden)
    if judgement.ruling is Ruling.BAD:
        raise RefusedError(f"{request.change.target}: {judgement.message}")
    if judgement.ruling is not Ruling.SHIP:
        return KeepPointer(judgement.ruling.value, judgement.message, details)
    if request.plan is not None and current is not None:
        look(change, request.candidate.refs)
        begun = start(change, release, request.candidate.versions, request.plan, current)
        try:
            check_forgotten(
                change.store, change.target, request.candidate
            )  # again: a concurrent `forget` ends only a rollout that it finds
        except RecsysAssetsError as error:
            end_rollout(change.store, change.target, why=str(error), by=change.by, now=change.now)
            raise
        return replace(begun, details={**details, **begun.details})
    return MovePointer(request.candidate.versions, request.candidate.refs, judgement.message, details)


def _judgement(request: _Publish, release: Release, current: LivePointer | None, head: JournalHead) -> Judgement:
    store, target = request.change.store, request.change.target
    with overlapped(store) as beside:
        hold = beside.start(read_hold, store, target)
        bad = beside.start(find_label, store, target, Labelled.BAD, release.id)
        live = _live(request, current, head)
        judgement = judge(
            release, live=live, hold=hold(), bad=bad(), now=request.change.now(), allow_older=request.allow_older
        )
    losses = request.candidate.losses(current.versions) if current else ()
    if judgement.ruling is Ruling.SHIP and losses:
        raise RefusedError(
            f"{target}: {', '.join(losses)} would be lost to services: empty today but not in the live release. "
            "Fix the input and run the check again, or ship without it by --override not_empty"
        )
    without = f", without {', '.join(request.candidate.left_out)}" if request.candidate.left_out else ""
    return replace(judgement, message=judgement.message + without + (live.note if live else ""))


def _live(request: _Publish, current: LivePointer | None, head: JournalHead) -> LiveBaseline | None:
    """Return the live release to compare with. If the pointer was deleted by hand, the last release in the journal."""
    store, target = request.change.store, request.change.target
    if current is None:
        last = head.change.after if head.change else None
        release = find_release(store, target, last) if last else None
        return LiveBaseline(None, release.data_through) if release else None
    try:
        release = find_release(request.evidence, target, current.release_id)
    except CorruptObjectError as error:
        return _live_by_artifacts(request, current, error)
    if release is not None:
        proven = data_through_of(store, target, current) if is_former(release) else None
        return LiveBaseline(release.id, proven or release.data_through)
    if request.allow_older:
        return LiveBaseline(current.release_id, "")
    raise RefusedError(
        f"{target}: the record of the live release {current.release_id[:12]} is missing, so its age is unknown: "
        "restore the record, or ship with --allow-older"
    )


def _live_by_artifacts(request: _Publish, current: LivePointer, error: CorruptObjectError) -> LiveBaseline:
    """Return the live release with the data day that its artifacts prove. Its record is damaged."""
    data_through = data_through_of(request.change.store, request.change.target, current)
    if data_through is None and not request.allow_older:
        raise RefusedError(
            f"{error}; its artifacts do not show its age either: fix the record, or ship with --allow-older"
        ) from error
    return LiveBaseline(
        current.release_id, data_through or "", f"; {error}; the age of the live release was read from its artifacts"
    )


def _rehearse(request: _Publish) -> PublishOutcome:
    store, target = request.change.store, request.change.target
    prove_members(store, target, request.candidate.members)
    current = read_current(store, target)
    live = current.release_id if current else None
    release = release_of(target, request.candidate, build=request.build, now=request.change.now(), parent=live)
    judgement = _judgement(request, release, current, read_journal_head(store, target))
    if judgement.ruling is Ruling.BAD:
        raise RefusedError(f"{target}: {judgement.message}")
    return PublishOutcome(judgement.ruling, release, live, f"dry run: {judgement.message}", None)


def _record_refusal(change: PointerChange, day: date, refusal: RecsysAssetsError) -> None:
    """Journal a refusal. An error in doing so is added to the refusal as a note and does not hide it."""
    store, target = change.store, change.target
    try:
        current = read_current(store, target)
        head = recover(store, target, current, by=change.by, now=change.now())
        entry = journal.entry_of(
            action=SHIP,
            outcome=journal.REFUSED,
            by=change.by,
            now=change.now(),
            live=current,
            message=str(refusal),
            details={"day": day.isoformat(), "error": type(refusal).__name__},
        )
        journal.append(store, target, entry, after=head.last)
    except RecsysAssetsError as error:
        refusal.add_note(f"the journal entry of this refusal could not be written: {error}")
