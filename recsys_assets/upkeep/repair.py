"""Repair the journal: record a swap without an entry, and fill the place of entries that are gone, saying so."""

from dataclasses import dataclass

from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release.document_encoding import create_document, encode, read_document
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import LOST, Actor, Clock, listed_sequences, missing_sequences
from recsys_assets.release.layout import journal_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import is_unrecorded, read_journal_head, recover
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Repaired:
    """The numbers of entries that were gone or unreadable, and and whether a swap was recorded only now."""

    filled: tuple[int, ...]
    recovered: bool


def repair_journal(store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False) -> Repaired:
    """Make the journal whole again: every number is there and can be read, and the last swap is recorded.

    What an entry said cannot be brought back; in its place stands that it is lost, since when, and who repaired it.
    """
    lost = _lost(store, target)
    if dry_run:
        return Repaired(tuple(lost), is_unrecorded(read_journal_head(store, target), read_current(store, target)))
    ensure_proven(store)
    for sequence, unreadable in lost.items():
        key, entry = journal_key(target, sequence), _holdout(sequence, by, now)
        if unreadable:
            store.put(key, encode(entry))
        else:
            create_document(store, key, entry)
    before = read_journal_head(store, target)
    after = recover(store, target, read_current(store, target), by=by, now=now())
    return Repaired(tuple(lost), after != before)


def _lost(store: ObjectStore, target: Target) -> dict[int, bool]:
    """Return the numbers that are gone (False) or cannot be read (True)."""
    lost = dict.fromkeys(missing_sequences(store, target), False)
    for sequence in listed_sequences(store, target):
        try:
            read_document(store, journal_key(target, sequence), JournalEntry)
        except CorruptObjectError:
            lost[sequence] = True
    return dict(sorted(lost.items()))


def _holdout(sequence: int, by: Actor, now: Clock) -> JournalEntry:
    return JournalEntry(
        sequence=sequence,
        at=rfc3339(now()),
        action=REPAIR,
        outcome=LOST,
        actor=by.name,
        reason="the entry was gone or could not be read",
        run_id=by.run_id,
        before=None,
        after=None,
        last_change=sequence - 1,
    )
