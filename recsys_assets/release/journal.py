"""The journal: numbered, append-only entries of the changes of a pointer, in their order."""

import getpass
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    StoreUnavailableError,
)
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release.document_encoding import create_document, read_document
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.layout import journal_key, journal_prefix
from recsys_assets.release.pointer import LivePointer
from recsys_assets.storage.store import ObjectStore

Clock: TypeAlias = Callable[[], datetime]

IMPORT, TEST = "import", "test"  # Actions on another team's file: registered for a day, or only tested.
DONE = "done"
UNCHANGED = "unchanged"
REFUSED = "refused"
HELD = "held"
RECOVERED = "recovered"
LOST = "lost"  # an entry that is missing or unreadable
MESSAGE = "message"  # the key of an entry's message in its details
MAX_MESSAGE_CHARACTERS = 2000


_NUMBERED = re.compile(r"([0-9]{12})\.json")


class Actor(msgspec.Struct, frozen=True):
    """The person or program that acts, its reason, and its run."""

    name: str
    reason: str
    run_id: str | None = None


def entry_of(
    *,
    action: str,
    outcome: str,
    by: Actor,
    now: datetime,
    live: LivePointer | None,
    message: str = "",
    details: Mapping[str, Scalar] | None = None,
) -> JournalEntry:
    """Return an unnumbered entry that records no change. `live` was the live pointer before and after."""
    return JournalEntry(
        sequence=0,
        at=rfc3339(now),
        action=action,
        outcome=outcome,
        actor=by.name,
        reason=by.reason,
        run_id=by.run_id,
        before=live.release_id if live else None,
        after=live.release_id if live else None,
        pointer_at=live.pointer.updated_at if live else None,
        details={MESSAGE: message[:MAX_MESSAGE_CHARACTERS], **(details or {})} if message else dict(details or {}),
    )


def message_of(entry: JournalEntry) -> str:
    """Return the message of an entry or, for a lost entry, the reason for its loss."""
    return str(entry.details.get(MESSAGE, entry.reason))


def changed(entry: JournalEntry, *, to: LivePointer) -> JournalEntry:
    """Return the entry as one that records the swap of the pointer to `to`."""
    return msgspec.structs.replace(entry, changed=True, after=to.release_id, pointer_at=to.pointer.updated_at)


def append(store: ObjectStore, target: Target, entry: JournalEntry, *, after: JournalEntry | None) -> JournalEntry:
    """Write the entry under the next free number and return it as written.

    `after` is the newest entry (None: none) that the caller has taken into account. Every later one is read here. So a
    swap is recorded once: if another process recorded this swap (as `recovered`) in the meantime, that entry is
    returned and nothing is written.
    """
    last = after
    while True:
        numbered = msgspec.structs.replace(entry, sequence=_sequence(last) + 1, last_change=_last_change(last))
        try:
            create_document(store, journal_key(target, numbered.sequence), numbered)
        except ConflictError:
            last = read_entry(store, target, numbered.sequence)
            if entry.changed and last.changed and last.pointer_at == entry.pointer_at:
                return last
        else:
            return numbered


def tail(
    store: ObjectStore, target: Target, *, since: JournalEntry | None = None, live_at: str | None = None
) -> JournalEntry | None:
    """Return the newest entry, or None. A missing older entry does not hide newer ones.

    The numbers are listed. Numbers after the last listed one are then probed, because a listing may end early. With
    `since`, the newest entry that the caller knows, nothing is listed. If the listing fails, all numbers are probed,
    because a ship must not depend on listings. With `live_at`, the time of the live pointer, nothing is probed after a
    listed entry of that pointer: later entries changed nothing, and `append` reads them.
    """
    low, step = since.sequence if since else _listed_newest(store, target), 1
    if live_at is not None and since is None and low:
        listed = read_entry(store, target, low)
        if listed.pointer_at == live_at:
            return listed
    high = low + step
    while store.stat(journal_key(target, high)) is not None:
        low, step = high, step * 2
        high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if store.stat(journal_key(target, middle)) is not None else (low, middle)
    if since is not None and low == since.sequence:
        return since
    return read_entry(store, target, low) if low else None


def _listed_newest(store: ObjectStore, target: Target) -> int:
    try:
        return max(listed_sequences(store, target), default=0)
    except (StoreUnavailableError, ConfigurationError):
        return 0


def listed_sequences(store: ObjectStore, target: Target) -> set[int]:
    """Return the numbers of the entries in a listing. Other objects are ignored."""
    prefix = journal_prefix(target)
    matches = (_NUMBERED.fullmatch(item.key[len(prefix) :]) for item in store.list(prefix))
    return {int(match[1]) for match in matches if match is not None}


def missing_sequences(store: ObjectStore, target: Target) -> tuple[int, ...]:
    """Return the numbers of missing entries below the newest listed one, oldest first."""
    listed = listed_sequences(store, target)
    absent = sorted(set(range(1, max(listed, default=0))) - listed)
    return tuple(sequence for sequence in absent if store.stat(journal_key(target, sequence)) is None)


def read_entry(store: ObjectStore, target: Target, sequence: int) -> JournalEntry:
    """Return one entry. A missing or corrupt one becomes an entry with outcome `lost` and the reason."""
    key = journal_key(target, sequence)
    try:
        entry = read_document(store, key, JournalEntry)
        if entry.sequence != sequence:
            raise CorruptObjectError(f"{key} contains the number {entry.sequence}")  # noqa: TRY301 - handled as a decoding error
    except (CorruptObjectError, NotFoundError) as error:
        return JournalEntry(
            sequence=sequence,
            at="",
            action=LOST,
            outcome=LOST,
            actor="",
            reason=str(error),
            before=None,
            after=None,
            last_change=sequence - 1,
        )
    return entry


def newest_first(store: ObjectStore, target: Target) -> Iterator[JournalEntry]:
    """Yield the entries from the newest to the oldest."""
    newest = tail(store, target)
    if newest is None:
        return
    yield newest
    for sequence in range(newest.sequence - 1, 0, -1):
        yield read_entry(store, target, sequence)


def changes(store: ObjectStore, target: Target, *, newest: JournalEntry | None = None) -> Iterator[JournalEntry]:
    """Yield the entries that record a swap of the pointer, newest first. The entries between them are not read.

    `newest` is the newest entry, if the caller has read it: it is not searched again.
    """
    entry = change_at_or_before(store, target, newest or tail(store, target))
    while entry is not None:
        yield entry
        entry = _earlier_change(store, target, entry)


def change_at_or_before(store: ObjectStore, target: Target, entry: JournalEntry | None) -> JournalEntry | None:
    """Return the newest entry that records a swap, not after `entry`, or None."""
    return entry if entry is None or entry.changed else _earlier_change(store, target, entry)


def _earlier_change(store: ObjectStore, target: Target, entry: JournalEntry) -> JournalEntry | None:
    while entry.last_change:
        entry = read_entry(store, target, entry.last_change)
        if entry.changed:  # A lost entry does not refer to an earlier swap, so each entry before it is read.
            return entry
    return None


def _sequence(entry: JournalEntry | None) -> int:
    return entry.sequence if entry else 0


def _last_change(entry: JournalEntry | None) -> int:
    if entry is None:
        return 0
    return entry.sequence if entry.changed else entry.last_change


def this_account() -> str:
    """Return `account@host`. The account is `unknown` for a user id without a name, as in a container."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
