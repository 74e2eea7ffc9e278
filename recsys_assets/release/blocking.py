"""Blocked items: items that no reader may show and no build may contain, in one small list per target."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    LimitExceededError,
    OutcomeUnknownError,
)
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.document_encoding import decode, encode, find_stored
from recsys_assets.release.documents import FORMAT, JournalEntry, Record
from recsys_assets.release.fault_points import reach
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import blocked_key
from recsys_assets.release.pointer import LivePointer, read_pointer
from recsys_assets.release.recovery import record_unmoved
from recsys_assets.retry import attempts
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

MAX_ITEMS: Final = 1000  # every reader keeps the whole list and checks each response against it
MAX_BLOCKED_BYTES: Final = 4_000_000
_MAX_ID_BYTES: Final = 1000
_TRIES: Final = 20
_TICK: Final = timedelta(microseconds=1)
_NO_WHITE_SPACE: Final = "\x1c\x1d\x1e\x1f"  # white space in Python, but not in Unicode or in our ids


class BlockedItem(Record, frozen=True):
    """One blocked item: since when, by whom, for what reason, and until when (None: until unblocked)."""

    item: str
    at: str
    actor: str
    reason: str
    until: str | None = None


class BlockedItems(Record, frozen=True):
    """The blocked items of a target, sorted by id.

    `updated_at` never repeats, so equal lists have different bytes.
    """

    updated_at: str
    items: tuple[BlockedItem, ...]
    v: int = FORMAT

    def __post_init__(self) -> None:
        """Reject invalid timestamps: a block with an unreadable end would never end, or have ended."""
        for text in (self.updated_at, *(item.until for item in self.items if item.until is not None)):
            parse_rfc3339(text)

    def in_force(self, now: datetime) -> tuple[BlockedItem, ...]:
        """Return the blocks in force at `now`."""
        return tuple(item for item in self.items if item.until is None or parse_rfc3339(item.until) > now)

    def ids(self, now: datetime) -> frozenset[str]:
        """Return the ids blocked at `now`."""
        return frozenset(blocked.item for blocked in self.in_force(now))


class BlockOutcome(msgspec.Struct, frozen=True):
    """Outcome of a change of the blocked items: the list now, its `updated_at`, and the entry (None: dry run)."""

    message: str
    items: tuple[BlockedItem, ...]
    updated_at: str | None
    entry: JournalEntry | None


class _ListWrite(msgspec.Struct, frozen=True):
    """The list before and after a write (None: no list), and whether it changed."""

    before: tuple[BlockedItem, ...]
    after: BlockedItems | None
    changed: bool


def parse_blocked(target: Target, data: bytes) -> BlockedItems:
    """Decode the list of a target. Raises `CorruptObjectError` for invalid bytes."""
    return decode(data, BlockedItems, name=blocked_key(target))


def find_blocked(store: ObjectStore, target: Target) -> BlockedItems | None:
    """Return the list of a target, or None if there is none. Raises `CorruptObjectError` if it cannot be read."""
    stored = find_stored(store, blocked_key(target), max_bytes=MAX_BLOCKED_BYTES)
    return None if stored is None else parse_blocked(target, stored.data)


def blocked_ids(store: ObjectStore, target: Target, *, now: datetime) -> frozenset[str]:
    """Return the ids blocked at `now`. Raises `CorruptObjectError` if the list cannot be read."""
    blocked = find_blocked(store, target)
    return blocked.ids(now) if blocked else frozenset()


def block_item(
    store: ObjectStore,
    target: Target,
    item: str,
    *,
    by: Actor,
    now: Clock,
    until: datetime | None = None,
    dry_run: bool = False,
) -> BlockOutcome:
    """Block an item, until a given time or until it is unblocked. Every reader excludes it from its next poll on.

    Nothing is shipped and the pointer stays. The outcome is `unchanged` if the item is blocked until then already.
    Raises `ConfigurationError` for an invalid id or a past `until`, `LimitExceededError` beyond `MAX_ITEMS`.
    """
    _check_id(item)
    if until is not None and until <= now():
        raise ConfigurationError(
            f"{item!r} would be blocked until {rfc3339(until)}, which is in the past: choose a later time"
        )
    end = rfc3339(until) if until else None
    added = BlockedItem(item=item, at=rfc3339(now()), actor=by.name, reason=by.reason, until=end)

    def add(items: tuple[BlockedItem, ...]) -> tuple[BlockedItem, ...]:
        if any(blocked.item == item and blocked.until == end for blocked in items):
            return items
        others = tuple(blocked for blocked in items if blocked.item != item)
        if len(others) >= MAX_ITEMS:
            raise LimitExceededError(
                f"{target}: {len(others):,} items are blocked, at most {MAX_ITEMS:,} can be: remove them from the "
                "catalog and the events, or unblock some by `recsys-assets unblock-item`"
            )
        return tuple(sorted((*others, added), key=lambda blocked: blocked.item))

    message = f"{item!r} is blocked until {end or 'it is unblocked'}"
    return _change(store, target, "block_item", item, add, by=by, now=now, message=message, dry_run=dry_run)


def unblock_item(
    store: ObjectStore, target: Target, item: str, *, by: Actor, now: Clock, dry_run: bool = False
) -> BlockOutcome:
    """Unblock an item. The outcome is `unchanged` if it is not blocked.

    Readers show it again from their next poll on if the live release contains it. Builds include it again.
    """
    return _change(
        store,
        target,
        "unblock_item",
        item,
        lambda items: tuple(blocked for blocked in items if blocked.item != item),
        by=by,
        now=now,
        message=f"{item!r} is no longer blocked",
        dry_run=dry_run,
    )


def _change(  # noqa: PLR0913 - independent inputs of a change
    store: ObjectStore,
    target: Target,
    action: str,
    item: str,
    edit: Callable[[tuple[BlockedItem, ...]], tuple[BlockedItem, ...]],
    *,
    by: Actor,
    now: Clock,
    message: str,
    dry_run: bool,
) -> BlockOutcome:
    if dry_run:
        blocked_items = find_blocked(store, target)
        before = blocked_items.in_force(now()) if blocked_items else ()
        would = "nothing would change" if edit(before) == before else f"would say that {message}"
        return BlockOutcome(f"dry run: {would}", before, None, None)
    ensure_proven(store)
    done = _write(store, target, edit, now=now)
    reach(f"{action}.after_write")
    details = {"item": item} | _details(next((blocked for blocked in done.before if blocked.item == item), None))
    entry = _record(store, target, action, details, by=by, now=now, message=message, changed=done.changed)
    items, updated_at = (done.after.items, done.after.updated_at) if done.after else ((), None)
    return BlockOutcome(message if done.changed else f"nothing changed: {message}", items, updated_at, entry)


def _write(
    store: ObjectStore,
    target: Target,
    edit: Callable[[tuple[BlockedItem, ...]], tuple[BlockedItem, ...]],
    *,
    now: Clock,
) -> _ListWrite:
    """Update the list by compare-and-swap, and drop expired blocks.

    If a write gets no reply, the list is read again: our bytes mean that our write won.
    """
    key, sent = blocked_key(target), dict[bytes, tuple[BlockedItem, ...]]()
    for _ in attempts(_TRIES):
        stored = find_stored(store, blocked_key(target), max_bytes=MAX_BLOCKED_BYTES)
        stored_list = None if stored is None else parse_blocked(target, stored.data)
        if stored is not None and stored.data in sent:
            return _ListWrite(sent[stored.data], stored_list, changed=True)
        before = stored_list.in_force(now()) if stored_list else ()
        after = edit(before)
        if after == before:
            return _ListWrite(before, stored_list, changed=False)
        written = BlockedItems(updated_at=_later(now(), stored_list), items=after)
        data = encode(written)
        try:
            if stored is None:
                store.create(key, data)
            else:
                store.swap(key, data, expected=stored.etag)
        except (OutcomeUnknownError, ConflictError):  # a failed condition too: the request may have been sent twice
            sent[data] = before
            continue
        return _ListWrite(before, written, changed=True)
    raise ConflictError(f"{key}: {_TRIES} writes in a row met another writer or got no reply: check the list and retry")


def _later(now: datetime, before: BlockedItems | None) -> str:
    return rfc3339(now if before is None else max(now, parse_rfc3339(before.updated_at) + _TICK))


def _record(
    store: ObjectStore,
    target: Target,
    action: str,
    details: Mapping[str, Scalar],
    *,
    by: Actor,
    now: Clock,
    message: str,
    changed: bool,
) -> JournalEntry:
    """Write the journal entry. Blocking works even if the pointer is damaged or missing."""
    pointer = read_pointer(store, target)
    live = pointer if isinstance(pointer, LivePointer) else None
    return record_unmoved(
        store,
        target,
        live,
        action=action,
        outcome=journal.DONE if changed else journal.UNCHANGED,
        by=by,
        now=now,
        message=message,
        details=details,
    )


def _details(before: BlockedItem | None) -> dict[str, Scalar]:
    """Return the former block of the item for the journal, because its writer may have crashed before its own entry."""
    if before is None:
        return {}
    return {"blocked_at": before.at, "blocked_by": before.actor, "blocked_because": before.reason}


def _check_id(item: str) -> None:
    is_text = not any("\ud800" <= character <= "\udfff" for character in item)
    if not is_text or not 0 < len(item.encode()) <= _MAX_ID_BYTES or _is_white(item[0]) or _is_white(item[-1]):
        raise ConfigurationError(
            f"{item[:80]!r} is not an item id: expected 1 to {_MAX_ID_BYTES} bytes without leading or trailing white "
            "space, because ids are trimmed when events are read"
        )


def _is_white(character: str) -> bool:
    return character.isspace() and character not in _NO_WHITE_SPACE


def blocked_faults(store: ObjectStore, target: Target) -> tuple[str, ...]:
    """Return the fault of the list as a sentence with the remedy, empty if it is readable or does not exist."""
    try:
        find_blocked(store, target)
    except CorruptObjectError as error:
        remedy = f"restore {blocked_key(target)}, or delete it and block the items in the journal again"
        return (f"{error}; readers keep the list that they read last: {remedy}",)
    return ()
