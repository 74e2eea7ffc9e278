"""Recovery: record a swap of the pointer that a crash left without its journal entry."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import find_readable
from recsys_assets.release.documents import Intent, JournalEntry
from recsys_assets.release.journal import (
    RECOVERED,
    Actor,
    Clock,
    append,
    change_at_or_before,
    changed,
    entry_of,
    tail,
)
from recsys_assets.release.layout import intent_prefix, sweep_key
from recsys_assets.release.pointer import LATEST, LivePointer, read_current
from recsys_assets.storage.store import ObjectStore

_OVER = "over"  # detail of a replay: latest time of a pointer before old bytes were restored


class JournalHead(msgspec.Struct, frozen=True):
    """The newest entry of a journal, and the newest one that records a swap."""

    last: JournalEntry | None
    change: JournalEntry | None

    @property
    def pointer_at(self) -> datetime | None:
        """Time of the pointer in the newest recorded swap."""
        return parse_rfc3339(self.change.pointer_at) if self.change and self.change.pointer_at else None

    @property
    def newest_at(self) -> datetime | None:
        """Latest time of any pointer in the journal. Restoring an old pointer does not lower it.

        None for an impossible time: every later pointer then counts as newer.
        """
        over = self.change.details.get(_OVER) if self.change else None
        newest = parse_rfc3339(over) if isinstance(over, str) else self.pointer_at
        return None if newest is None or newest >= LATEST else newest


def read_journal_head(
    store: ObjectStore, target: Target, *, since: JournalHead | None = None, live: LivePointer | None = None
) -> JournalHead:
    """Return the journal's head, reading only entries after `since`. Reading stops at a listed entry of `live`."""
    live_at = live.pointer.updated_at if live else None
    last = tail(store, target, since=since.last if since else None, live_at=live_at)
    return JournalHead(last, change_at_or_before(store, target, last))


def is_unrecorded(head: JournalHead, current: LivePointer | None) -> bool:
    """Return whether the live pointer has no journal entry."""
    return current is not None and head.pointer_at != current.updated_at


def is_replay(head: JournalHead, current: LivePointer) -> bool:
    """Return whether the pointer is older than the newest in the journal: restored from a backup, or overwritten."""
    return head.newest_at is not None and current.updated_at < head.newest_at


def recover(
    store: ObjectStore,
    target: Target,
    current: LivePointer | None,
    *,
    by: Actor,
    now: datetime,
    own_intent: str | None = None,
    since: JournalHead | None = None,
) -> JournalHead:
    """Return the journal's head, after recording a swap that has no entry.

    The entry carries the cause from the crashed writer's intent, if one exists (`own_intent`, the caller's own intent,
    is ignored). Its outcome is `recovered`. Its action is `replay` if the pointer is older than one in the journal,
    i.e. old bytes were restored.
    """
    head = read_journal_head(store, target, since=since, live=current)
    if current is None or not is_unrecorded(head, current):
        return head
    if read_current(store, target) != current:
        return head  # Recorded and moved on in the meantime. Its writer records that swap.
    cause = None if is_replay(head, current) else _announced(store, target, current.release_id, exclude=own_intent)
    entry = changed(_entry(head, current, cause, by=by, now=now), to=current)
    written = append(store, target, entry, after=head.last)
    return JournalHead(written, written)


def record_unmoved(  # noqa: PLR0913 - independent fields of the entry
    store: ObjectStore,
    target: Target,
    current: LivePointer | None,
    *,
    action: str,
    outcome: str,
    by: Actor,
    now: Clock,
    message: str,
    details: Mapping[str, Scalar] | None = None,
) -> JournalEntry:
    """Journal an action that did not move the pointer, after recording any unrecorded swap. Returns the entry."""
    last = recover(store, target, current, by=by, now=now()).last
    entry = entry_of(action=action, outcome=outcome, by=by, now=now(), live=current, message=message, details=details)
    return append(store, target, entry, after=last)


def _entry(head: JournalHead, current: LivePointer, cause: Intent | None, *, by: Actor, now: datetime) -> JournalEntry:
    details = {"recovered_by": by.name} | ({"intent": cause.id} if cause else {})
    action, actor = (
        "recover",
        Actor("unknown", "the pointer changed without an entry: its writer crashed, or is another program"),
    )
    if is_replay(head, current):
        action = "replay"
        newest = rfc3339(head.newest_at or now)
        details[_OVER] = newest
        actor = Actor("unknown", f"the pointer of {current.pointer.updated_at} replaced a newer one of {newest}")
    elif cause is not None:
        action, actor = cause.action, Actor(cause.actor, cause.reason, cause.run_id)
    entry = entry_of(action=action, outcome=RECOVERED, by=actor, now=now, live=current, details=details)
    return msgspec.structs.replace(entry, before=head.change.after if head.change else None)


def _announced(store: ObjectStore, target: Target, release_id: str, *, exclude: str | None) -> Intent | None:
    """Return the latest intent of a change to this release, or None if there is none or the listing fails."""
    intents: list[Intent] = []
    try:
        for item in store.list(intent_prefix(target)):
            if item.key != sweep_key(target):
                intent = find_readable(store, item.key, Intent)  # None: finished since, or damaged (see `verify`)
                intents += [intent] if intent else []
    except RecsysAssetsError:
        return None  # the cause is optional: never fail a publish or rollback for it
    causes = [intent for intent in intents if intent.release == release_id and intent.id != exclude]
    return max(causes, key=lambda intent: intent.at, default=None)
