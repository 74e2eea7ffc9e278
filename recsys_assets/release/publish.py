"""Publish: prove what a day staged on the bytes that are stored, record it as a release, and move the pointer last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

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
from recsys_assets.release.trash import rescue
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore, overlapped

SHIP = "ship"


@dataclass(frozen=True, slots=True)
class PublishOutcome:
    """How a publish ended, which release it was about, what is live now, and the journal's entry (None: dry run)."""

    how: Ruling
    release: Release
    live: str | None
    message: str
    entry: JournalEntry | None

    @property
    def exit_code(self) -> int:
        """1 if it was to ship and a hold or newer data kept it from that: who ships by hand has to decide."""
        return int(self.entry is not None and self.how in {Ruling.HELD, Ruling.OLDER})


@dataclass(frozen=True, slots=True)
class _Publish:
    """One publish: the change, the day, and what the release is made with."""

    change: PointerChange
    candidate: Candidate
    build: Build
    allow_older: bool
    evidence: ObjectStore
    plan: Plan | None = None


def publish(  # noqa: PLR0913 - each is an independent fact of a publish
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
    """Ship the artifacts that a day staged, if they may; what is live stays live in every other case.

    `evidence` holds staged artifacts, canonical records, gate reports and the record of the live release, the store
    itself if left out; blobs, pointer, hold, labels and journal are read from the store whatever it holds.

    With a `plan` a release that would replace a live one is shown to a share of requests first (`rollout.start`).

    A release that is live already, older than live data, or held is an outcome, not an error. Raises `RefusedError`
    (journaled) when a gate, a blob or a bad mark says no; `ConflictError` when others kept winning: run again.
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


def _publish(asked: _Publish, current: LivePointer | None) -> PublishOutcome:
    """Announce, verify, record, then swap if every attempt's judgement says so."""
    change, candidate = asked.change, asked.candidate
    store, target = change.store, change.target
    reach("ship.after_read")
    release = release_of(
        target, candidate, build=asked.build, now=change.now(), parent=current.release_id if current else None
    )
    seen = None
    if current is not None and current.release_id != release.id:  # else the pointer stays, or is the first
        seen = PointerBasis(current, recover(store, target, current, by=change.by, now=change.now()))
    with announced(change, release_id=release.id, refs=candidate.refs) as change:
        seen = seen if seen and is_clear_of_collections(change, candidate.refs) else None
        _prove(store, target, candidate)  # after the announcement, from which on collection keeps them
        reach("ship.after_proof")
        release = record(store, target, release)
        reach("ship.after_record")
        entry = change_pointer(change, lambda live, head: _judge(asked, change, release, live, head), seen=seen)
    reach("ship.after_all")
    how = (
        Ruling.SHIP if entry.changed else Ruling(entry.outcome)
    )  # a swap that somebody else recorded was ours all the same
    return PublishOutcome(how, release, entry.after, message_of(entry), entry)


def _prove(store: ObjectStore, target: Target, candidate: Candidate) -> None:
    """Prove every blob on its stored bytes, after taking back from the trash those that are missing."""
    try:
        prove_members(store, target, candidate.members)
    except RefusedError:
        rescue(store, target, missing_blobs(store, target, candidate.refs))
        prove_members(store, target, candidate.members)


def _judge(
    asked: _Publish, change: PointerChange, release: Release, current: LivePointer | None, head: JournalHead
) -> MovePointer | KeepPointer:
    with overlapped(asked.change.store) as beside:
        unforgotten = beside.start(check_forgotten, asked.change.store, asked.change.target, asked.candidate)
        judging = beside.start(_judgement, asked, release, current, head)
        unforgotten()
        judgement = judging()
    details = {"day": asked.candidate.day.isoformat(), "release": release.id, "data_through": release.data_through}
    if asked.candidate.left_out:
        details[LEFT_OUT] = "; ".join(f"{kind}: {why}" for kind, why in asked.candidate.left_out.items())
    if asked.candidate.overridden:
        details[OVERRIDDEN] = "; ".join(asked.candidate.overridden)
    if judgement.ruling is Ruling.BAD:
        raise RefusedError(f"{asked.change.target}: {judgement.message}")
    if judgement.ruling is not Ruling.SHIP:
        return KeepPointer(judgement.ruling.value, judgement.message, details)
    if asked.plan is not None and current is not None:
        look(change, asked.candidate.refs)
        begun = start(change, release, asked.candidate.versions, asked.plan, current)
        try:
            check_forgotten(change.store, change.target, asked.candidate)  # again: a forget ends what it finds
        except RecsysAssetsError as error:
            end_rollout(change.store, change.target, why=str(error), by=change.by, now=change.now)
            raise
        return replace(begun, details={**details, **begun.details})
    return MovePointer(asked.candidate.versions, asked.candidate.refs, judgement.message, details)


def _judgement(asked: _Publish, release: Release, current: LivePointer | None, head: JournalHead) -> Judgement:
    store, target = asked.change.store, asked.change.target
    with overlapped(store) as beside:
        hold = beside.start(read_hold, store, target)
        bad = beside.start(find_label, store, target, Labelled.BAD, release.id)
        live = _live(asked, current, head)
        judgement = judge(
            release, live=live, hold=hold(), bad=bad(), now=asked.change.now(), allow_older=asked.allow_older
        )
    losses = asked.candidate.losses(current.versions) if current else ()
    if judgement.ruling is Ruling.SHIP and losses:
        raise RefusedError(
            f"{target}: {', '.join(losses)} would be lost to services: live has it, and this day has it without rows: "
            "run its check again, then fix the input, or ship without it by --override not_empty"
        )
    without = f", without {', '.join(asked.candidate.left_out)}" if asked.candidate.left_out else ""
    return replace(judgement, message=judgement.message + without + (live.note if live else ""))


def _live(asked: _Publish, current: LivePointer | None, head: JournalHead) -> LiveBaseline | None:
    """Return what the fence is held against; where the pointer was deleted by hand, the journal's last release."""
    store, target = asked.change.store, asked.change.target
    if current is None:
        last = head.change.after if head.change else None
        release = find_release(store, target, last) if last else None
        return LiveBaseline(None, release.data_through) if release else None
    try:
        release = find_release(asked.evidence, target, current.release_id)
    except CorruptObjectError as error:
        return _live_by_artifacts(asked, current, error)
    if release is not None:
        proven = data_through_of(store, target, current) if is_former(release) else None
        return LiveBaseline(release.id, proven or release.data_through)
    if asked.allow_older:
        return LiveBaseline(current.release_id, "")
    raise RefusedError(
        f"{target}: the record of the live release {current.release_id[:12]} is gone, so its age is unknown: restore "
        "the record, or ship with --allow-older"
    )


def _live_by_artifacts(asked: _Publish, current: LivePointer, error: CorruptObjectError) -> LiveBaseline:
    """Return the age of what is live as its artifacts prove it, where its record is damaged."""
    data_through = data_through_of(asked.change.store, asked.change.target, current)
    if data_through is None and not asked.allow_older:
        raise RefusedError(f"{error}; nor do its artifacts say how old it is: or ship with --allow-older") from error
    return LiveBaseline(
        current.release_id, data_through or "", f"; {error}; the age of live is read from its artifacts"
    )


def _rehearse(asked: _Publish) -> PublishOutcome:
    store, target = asked.change.store, asked.change.target
    prove_members(store, target, asked.candidate.members)
    current = read_current(store, target)
    live = current.release_id if current else None
    release = release_of(target, asked.candidate, build=asked.build, now=asked.change.now(), parent=live)
    judgement = _judgement(asked, release, current, read_journal_head(store, target))
    if judgement.ruling is Ruling.BAD:
        raise RefusedError(f"{target}: {judgement.message}")
    return PublishOutcome(judgement.ruling, release, live, f"dry run: {judgement.message}", None)


def _record_refusal(change: PointerChange, day: date, refusal: RecsysAssetsError) -> None:
    """Write a refusal down; what stands in the way of that is noted on it and does not hide it."""
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
        refusal.add_note(f"nor could this be written to the journal: {error}")
