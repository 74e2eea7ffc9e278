"""Retire a target: stop serving it on purpose, which taking it out of the configuration alone never does."""

from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class RetireOutcome:
    """What became of it: in words, and the journal's entry (None: dry run)."""

    message: str
    entry: JournalEntry | None


def retire(store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False) -> RetireOutcome:
    """Hold a target for good, record it in the journal, and take its pointer away; every release stays in the store.

    Held first, so that no automation under an old configuration ships again. Broken off, it is done by running it
    again. Consumers that run keep their last good release and say that the pointer is gone; a new one starts without.
    `restore-pointer` and `release-hold` undo it. Raises `RefusedError` when nothing is live, `ConflictError` when
    something else became live meanwhile: that stays live.
    """
    current = read_current(store, target)
    if current is None:
        raise RefusedError(f"{target}: nothing is live, so nothing can be retired")
    message = (
        f"retired: release {current.release_id[:12]} is served no more; `restore-pointer` and `release-hold` undo it, "
        "until `collect --apply` for this target takes its artifacts, a grace from now at the earliest"
    )
    if dry_run:
        return RetireOutcome(f"dry run: {message}", None)
    place_hold(store, target, by=by, now=now)
    live = read_current(store, target)
    if live is None or live.release_id != current.release_id:
        raise ConflictError(f"{target}: another release became live meanwhile: see `recsys-assets status`, run again")
    entry = journal.entry_of(action=RETIRE, outcome=journal.DONE, by=by, now=now(), live=live, message=message)
    entry = journal.append(store, target, entry, after=journal.tail(store, target))
    reach("retire.before_removal")
    try:
        store.delete_unchanged(pointer_key(target), expected=live.etag)
    except ConflictError as error:
        raise ConflictError(
            f"{target}: the pointer changed while it was retired, so it stays: see `recsys-assets status`, and retire "
            "it again if what is live now is to go too"
        ) from error
    return RetireOutcome(message, entry)


def retired_at(store: ObjectStore, target: Target) -> datetime | None:
    """Return since when a target without a pointer is retired, or None if it was lost some other way.

    By the journal: after a retirement nothing moved the pointer.
    """
    for entry in journal.newest_first(store, target):
        if entry.action == RETIRE and entry.outcome == journal.DONE:
            return parse_rfc3339(entry.at)
        if entry.changed or entry.action == journal.LOST:
            return None
    return None
