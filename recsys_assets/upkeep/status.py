"""Status of every target: live release, age of its data, hold, last attempt, failed builds, and problems."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import islice, takewhile
from typing import TypeVar

import msgspec

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.messages import plural
from recsys_assets.release import journal
from recsys_assets.release.blocking import BlockedItem, find_blocked
from recsys_assets.release.candidate import kinds_left_out
from recsys_assets.release.document_encoding import if_readable
from recsys_assets.release.documents import Hold, JournalEntry, Release
from recsys_assets.release.hold import is_loud, read_hold
from recsys_assets.release.journal import LOST, Actor, listed_sequences, newest_first
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import POINTERS, target_of_pointer
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, is_replay, is_unrecorded, read_journal_head, record_unmoved
from recsys_assets.release.releases import find_release, refs_of
from recsys_assets.release.shards import missing_blobs
from recsys_assets.release.ship_rules import ending, is_in_force
from recsys_assets.storage.run_cache import ReadOnce
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.upkeep.answer_guard import Answers, answers_of, message_of, worse_kinds
from recsys_assets.upkeep.heartbeats import Convergence, blocking_message, convergence, read_heartbeats
from recsys_assets.upkeep.retire import retired_at

_HOUSEKEEPING = frozenset(
    {"collect", "repair", "pin", "unpin", "unmark_bad", "tag", "untag", "test", "block_item", "unblock_item"}
)
_LOOKED_AT = 100  # number of journal entries that are searched

CLOCK_SKEW = timedelta(minutes=5)  # a pointer further in the future means a wrong clock
BUILD = "build"
GATE = "gate"  # used instead of an error class if a gate refused
FAILED_SINCE = timedelta(days=7)  # time for which a failed day is shown unless it is built again

Value = TypeVar("Value")


class BuildFailure(msgspec.Struct, frozen=True):
    """Failure of one step of a day's build, with the error's class and message."""

    day: str
    step: str
    error: str
    message: str


def journal_failure(
    store: ObjectStore, target: Target, failure: BuildFailure, *, by: Actor, now: datetime
) -> JournalEntry:
    """Journal that a day failed before its swap, and return the entry. The live release is not touched.

    A refusal at the swap is journaled by `publish`. Raises what the store raises.
    """
    return record_unmoved(
        store,
        target,
        _live(store, target),
        action=BUILD,
        outcome=journal.REFUSED,
        by=by,
        now=lambda: now,
        message=f"{failure.step} of {failure.day}: {failure.message}",
        details={"day": failure.day, "step": failure.step, "error": failure.error},
    )


def _live(store: ObjectStore, target: Target) -> LivePointer | None:
    return if_readable(
        lambda: read_current(store, target)
    )  # journaled even with a damaged pointer, which `status` reports


def failed_days(store: ObjectStore, target: Target, *, now: datetime) -> tuple[JournalEntry, ...]:
    """Return the newest entry of each day that failed recently and has not succeeded since, latest first."""
    since = rfc3339(now - FAILED_SINCE)
    newest = takewhile(
        lambda entry: entry.action == journal.LOST or entry.at >= since,
        islice(journal.newest_first(store, target), _LOOKED_AT),
    )
    return tuple(entry for entry in _last_of_each_day(newest) if entry.outcome == journal.REFUSED)


def _last_of_each_day(newest: Iterator[JournalEntry]) -> Iterator[JournalEntry]:
    seen: set[object] = set()
    for entry in newest:
        day = entry.details.get("day")
        if day is not None and day not in seen:
            seen.add(day)
            yield entry


class BlockedStatus(msgspec.Struct, frozen=True):
    """Blocked items of one target, text on consumers that apply them, and the fault of an unreadable list."""

    tenant: str
    surface: str
    items: tuple[BlockedItem, ...]
    consumers: str
    fault: str


def read_blocked_status(store: ObjectStore, target: Target, *, now: datetime) -> BlockedStatus:
    """Return the blocked items of a target. An unreadable list or heartbeat sets `fault` and raises nothing."""
    try:
        blocked_items = find_blocked(store, target)
        items = blocked_items.in_force(now) if blocked_items else ()
        beats = read_heartbeats(store, target).beats
    except RecsysAssetsError as error:
        return BlockedStatus(target.tenant, target.surface, (), "", str(error))
    consumers = blocking_message(beats, blocked_items.updated_at if blocked_items else None, now=now)
    return BlockedStatus(target.tenant, target.surface, items, consumers, "")


class TargetStatus(msgspec.Struct, frozen=True):
    """Status of one target. Unknown values are None, and `problems` has the reason."""

    tenant: str
    surface: str
    release: str | None
    data_through: date | None
    data_age_days: int | None  # whole days between the end of the live data and now
    updated_at: datetime | None
    versions: dict[str, str]
    left_out: dict[str, str]  # reason for each kind excluded from the live release
    hold: Hold | None
    last: JournalEntry | None
    failed: tuple[JournalEntry, ...]  # failures of days not completed since, latest first
    consumers: Convergence | None
    answers: tuple[Answers, ...]  # answers of consumers that count lookups, by release and kind
    blocked: tuple[BlockedItem, ...]  # items that readers exclude
    problems: tuple[str, ...]


def status(store: ObjectStore, targets: Iterable[Target], *, now: datetime) -> tuple[TargetStatus, ...]:
    """Return the status of every target, read in parallel. Problems of one never hide another."""
    return fan_out(lambda target: status_of(ReadOnce(store), target, now=now), tuple(targets))


def served_targets(store: ObjectStore) -> tuple[Target, ...]:
    """Return every target with a pointer, configured or not. Costs one listing."""
    targets = (target_of_pointer(item.key) for item in store.list(POINTERS))
    return tuple(target for target in targets if target is not None)


def status_of(store: ObjectStore, target: Target, *, now: datetime) -> TargetStatus:
    """Return the status of one target. Errors of the store become its `problems`."""
    problems: list[str] = []
    current = _or_note(problems, lambda: read_current(store, target))
    is_read = not problems
    release = _or_note(problems, lambda: find_release(store, target, current.release_id)) if current else None
    hold = _or_note(problems, lambda: read_hold(store, target))
    head = _or_note(problems, lambda: read_journal_head(store, target))
    listed = _or_note(problems, lambda: listed_sequences(store, target)) or set[int]()
    problems += _gaps(listed)
    blocked = _or_note(problems, lambda: find_blocked(store, target))
    through = date.fromisoformat(release.data_through) if release else date.min
    if hold is not None and not is_in_force(hold, data_through=through.isoformat(), now=now):
        hold = None
    if current is not None:
        problems += _pointer_problems(store, target, current, release, now)
    consumers = _or_note(problems, lambda: convergence(store, target, current.release_id if current else None, now=now))
    if consumers is not None:
        problems += consumers.faults
    answers = answers_of(consumers.beats, live=consumers.release) if consumers else ()
    problems += [message_of(worse, before) for worse, before in worse_kinds(answers)]
    if (
        head is not None
        and is_read
        and (current is not None or not _or_note(problems, lambda: retired_at(store, target)))
    ):
        problems += _journal_problems(current, head)
    if hold is not None and is_loud(hold, now=now):
        problems.append(
            f"held since {hold.at} by {hold.actor} ({hold.reason}): is it forgotten? It ends when {ending(hold)}"
        )
    return TargetStatus(
        tenant=target.tenant,
        surface=target.surface,
        release=current.release_id if current else None,
        data_through=through if release else None,
        data_age_days=(now.date() - through).days - 1 if release else None,
        updated_at=current.updated_at if current else None,
        versions=dict(current.versions) if current else {},
        left_out=kinds_left_out(release.gates) if release else {},
        hold=hold,
        last=_or_note(problems, lambda: _last_attempt(store, target)),
        failed=_or_note(problems, lambda: failed_days(store, target, now=now)) or (),
        consumers=consumers,
        answers=answers,
        blocked=blocked.in_force(now) if blocked else (),
        problems=tuple(problems),
    )


def _last_attempt(store: ObjectStore, target: Target) -> JournalEntry | None:
    """Return the newest journal entry about the live release. Housekeeping must not hide a refused ship."""
    entries = newest_first(store, target)
    return next((entry for entry in islice(entries, _LOOKED_AT) if entry.action not in _HOUSEKEEPING), None)


def _or_note(problems: list[str], read: Callable[[], Value]) -> Value | None:
    """Return the result of `read`. On an error, adds a problem and returns None, so that the rest is still shown."""
    try:
        return read()
    except RecsysAssetsError as error:
        problems.append(str(error))
        return None


def _pointer_problems(
    store: ObjectStore, target: Target, current: LivePointer, release: Release | None, now: datetime
) -> Iterator[str]:
    short = current.release_id[:12]
    if release is None:
        yield f"the record of live release {short} cannot be read, so its data's age is unknown"
    else:
        for ref in missing_blobs(store, target, refs_of(release)):
            yield f"{ref.kind} {ref.version[:12]} of the live release is missing: roll back, or build the day again"
    if find_label(store, target, Labelled.BAD, current.release_id) is not None:
        yield f"live release {short} is marked bad: roll back, or wait for the next good day"
    if current.updated_at - now > CLOCK_SKEW:
        yield (
            f"the pointer was swapped at {current.pointer.updated_at}, which is in the future: a clock is wrong; "
            "once it is corrected, `recsys-assets restore-pointer` sets the time"
        )


def _gaps(listed: set[int]) -> Iterator[str]:
    missing = set(range(1, max(listed, default=0))) - listed
    if missing:
        lacks = f"the journal lacks {plural(len(missing), 'entry')}, the first is {min(missing)}"
        yield f"{lacks}: fix it by `recsys-assets reindex`"


def _journal_problems(current: LivePointer | None, head: JournalHead) -> Iterator[str]:
    if current is None:
        if head.change is not None:
            yield "the pointer is missing, but the journal has one: restore it by `recsys-assets restore-pointer`"
    elif is_replay(head, current):
        yield (
            f"the pointer is of {current.pointer.updated_at}, older than one of {head.newest_at} in the journal: "
            "old bytes were restored; `recsys-assets restore-pointer` undoes that"
        )
    elif is_unrecorded(head, current):
        yield "the last swap of the pointer is not in the journal yet: the next change, or `reindex`, records it"
    if head.last is not None and head.last.action == LOST:
        yield head.last.reason
