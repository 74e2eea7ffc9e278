"""Days whose build failed before a ship: journaling them, and finding those that have not succeeded since."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile

import msgspec

from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.document_encoding import if_readable
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.recovery import record_unmoved
from recsys_assets.storage.store import ObjectStore

BUILD = "build"
GATE = "gate"  # used instead of an error class if a gate refused
FAILED_SINCE = timedelta(days=7)  # time for which a failed day is shown unless it is built again
_LOOKED_AT = 100  # number of journal entries that are searched


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
