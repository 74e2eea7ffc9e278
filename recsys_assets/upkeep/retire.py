"""Retirement of a target: stops serving it, which removing it from the configuration never does."""

from datetime import datetime

import msgspec

from recsys_assets.errors import ConflictError, RefusedError
from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.release import journal
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.fault_points import reach
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.storage.store import ObjectStore

RETIRE = "retire"


class RetireOutcome(msgspec.Struct, frozen=True):
    """Outcome of a retirement, with the journal entry (None: dry run)."""

    message: str
    entry: JournalEntry | None


def retire(store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False) -> RetireOutcome:
    """Hold a target without end, journal the retirement, and delete its pointer. Every release stays in the store.

    The hold comes first, so that automation with an old configuration cannot ship again. An interrupted retirement is
    completed by a rerun. Running consumers keep their last good release and report that the pointer is missing. New
    ones start without a release. `restore-pointer` and `release-hold` undo it. Raises `RefusedError` if nothing is
    live, and `ConflictError` if another release became live in the meantime, which stays live.
    """
    current = read_current(store, target)
    if current is None:
        raise RefusedError(f"{target}: nothing is live, so nothing can be retired")
    message = (
        f"retired: release {current.release_id[:12]} is no longer served; `restore-pointer` and `release-hold` undo it "
        "until `collect --apply` for this target takes its artifacts, after the grace period at the earliest"
    )
    if dry_run:
        return RetireOutcome(f"dry run: {message}", None)
    place_hold(store, target, by=by, now=now)
    live = read_current(store, target)
    if live is None or live.release_id != current.release_id:
        raise ConflictError(
            f"{target}: another release became live in the meantime: see `recsys-assets status`, then retry"
        )
    entry = journal.entry_of(action=RETIRE, outcome=journal.DONE, by=by, now=now(), live=live, message=message)
    entry = journal.append(store, target, entry, after=journal.tail(store, target))
    reach("retire.before_removal")
    try:
        store.delete_unchanged(pointer_key(target), expected=live.etag)
    except ConflictError as error:
        raise ConflictError(
            f"{target}: the pointer changed during the retirement, so it stays: see `recsys-assets status`, and "
            "retire again if the release that is live now is to be retired too"
        ) from error
    return RetireOutcome(message, entry)


def retired_at(store: ObjectStore, target: Target) -> datetime | None:
    """Return the time at which a target without a pointer was retired, or None if the pointer was lost another way.

    A target counts as retired if no journal entry after the retirement moved the pointer.
    """
    for entry in journal.newest_first(store, target):
        if entry.action == RETIRE and entry.outcome == journal.DONE:
            return parse_rfc3339(entry.at)
        if entry.changed or entry.action == journal.LOST:
            return None
    return None
