"""The journal: append-only numbered entries that tell what happened to a pointer, in the order in which it happened."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from recsys_assets.errors import ConflictError, OutcomeUnknownError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.manifest.documents import JournalEntry, encode, read_document
from recsys_assets.manifest.layout import journal_key
from recsys_assets.manifest.pointer import Current
from recsys_assets.storage.store import ObjectStore

DONE = "done"
RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, why, and in which run."""

    name: str
    reason: str
    run_id: str | None = None


def entry_of(
    *,
    action: str,
    outcome: str,
    by: Actor,
    now: datetime,
    before: str | None,
    after: str | None,
    pointer_at: str | None = None,
    details: dict[str, str | int | float | bool | None] | None = None,
) -> JournalEntry:
    """Return an entry without its number; `append` gives it the next one."""
    return JournalEntry(
        sequence=0,
        at=rfc3339(now),
        action=action,
        outcome=outcome,
        actor=by.name,
        reason=by.reason,
        before=before,
        after=after,
        run_id=by.run_id,
        pointer_at=pointer_at,
        details=details or {},
    )


def append(store: ObjectStore, target: Target, entry: JournalEntry) -> JournalEntry:
    """Write the entry under the next free number and return it as written.

    A change of the pointer is told once: if somebody else has told this very change (as `recovered`) in the meantime,
    that entry is returned and nothing is written.
    """
    told = _told_already(store, target, entry.pointer_at)
    if told is not None:
        return told
    sequence = last_sequence(store, target) + 1
    while True:
        numbered = msgspec.structs.replace(entry, sequence=sequence)
        key = journal_key(target, sequence)
        try:
            store.create(key, encode(numbered))
        except (ConflictError, OutcomeUnknownError):
            there = read_document(store, key, JournalEntry)
            if there == numbered or (entry.pointer_at is not None and there.pointer_at == entry.pointer_at):
                return there
            sequence += 1
        else:
            return numbered


def last_sequence(store: ObjectStore, target: Target) -> int:
    """Return the number of the newest entry, 0 if there is none, by doubling and halving: never by listing."""
    low, high = 0, 1
    while store.stat(journal_key(target, high)) is not None:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if store.stat(journal_key(target, middle)) is not None else (low, middle)
    return low


def newest_first(store: ObjectStore, target: Target) -> Iterator[JournalEntry]:
    """Yield the entries from the newest to the oldest."""
    for sequence in range(last_sequence(store, target), 0, -1):
        yield read_document(store, journal_key(target, sequence), JournalEntry)


def changes(store: ObjectStore, target: Target) -> Iterator[JournalEntry]:
    """Yield the entries that changed the pointer, newest first."""
    return (entry for entry in newest_first(store, target) if entry.pointer_at is not None)


def recover(
    store: ObjectStore, target: Target, current: Current | None, *, by: Actor, now: datetime
) -> JournalEntry | None:
    """Tell a change of the pointer that a crash left untold, as `recovered`; return the entry, or None."""
    if current is None:
        return None
    last = next(changes(store, target), None)
    if last is not None and last.pointer_at == current.pointer.updated_at:
        return None
    entry = entry_of(
        action="recover",
        outcome=RECOVERED,
        by=Actor(
            by.name, "a change of the pointer stood without an entry: its writer died or lost its reply", by.run_id
        ),
        now=now,
        before=last.after if last else None,
        after=current.release_id,
        pointer_at=current.pointer.updated_at,
    )
    return append(store, target, entry)


def _told_already(store: ObjectStore, target: Target, pointer_at: str | None) -> JournalEntry | None:
    """Return the entry that tells the change to the pointer of this time, looking back only past later changes."""
    if pointer_at is None:
        return None
    for entry in changes(store, target):
        if entry.pointer_at == pointer_at:
            return entry
        if parse_rfc3339(entry.pointer_at or "") < parse_rfc3339(pointer_at):
            return None
    return None
