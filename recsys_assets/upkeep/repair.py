"""Repairs: a pointer put back as the journal knows it, and a journal completed where entries are gone."""

from dataclasses import dataclass

from recsys_assets.errors import ConflictError, CorruptObjectError, RefusedError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import Change, Move, Stay, announced, change_pointer
from recsys_assets.release.destination import alternatives
from recsys_assets.release.document_encoding import create_document, encode, read_document
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import LOST, Actor, Clock, listed_sequences, message_of, missing_sequences
from recsys_assets.release.layout import journal_key
from recsys_assets.release.pointer import MAX_AHEAD, Current, read_current
from recsys_assets.release.recovery import JournalHead, is_unrecorded, read_journal_head, recover
from recsys_assets.release.releases import find_release, refs_of, versions_of
from recsys_assets.release.shards import prove_members
from recsys_assets.retry import Pause, wait
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


RESTORE = "restore_pointer"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of it: the release that is live now, in words, and the journal's entry (None: dry run)."""

    live: str
    message: str
    entry: JournalEntry | None


def restore_pointer(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False, pause: Pause = wait
) -> Restored:
    """Make live what was live by the journal, where the pointer is gone, damaged, or older bytes that were put back.

    A pointer whose time is yet to come, by a clock that was wrong, gets the time of now.
    Judged on the very pointer that is replaced: one that is as the journal says stays, whoever wrote it meanwhile.
    Raises `RefusedError`, with alternatives, when the journal knows of nothing or its release cannot be served;
    `ConflictError` when another release became live while this one was proven: run it again.
    """
    release = _last_release(store, target)
    prove_members(store, target, release.members)
    message = f"the pointer is put back to release {release.id[:12]}, data through {release.data_through}"
    if dry_run:
        return Restored(release.id, f"dry run: {message}", None)
    ensure_proven(store)
    change = Change(store, target, RESTORE, by, now, replaces_damage=True, resets_time=True, pause=pause)

    def judge(current: Current | None, head: JournalHead) -> Move | Stay:
        is_early = current is not None and current.updated_at - now() > MAX_AHEAD
        if current is not None and not is_early and (current.release_id == release.id or not _is_replayed(head)):
            return Stay(journal.UNCHANGED, f"release {current.release_id[:12]} is live already")
        newest = _last_release(store, target)
        if newest.id != release.id:
            raise ConflictError(
                f"{target}: release {newest.id[:12]} became live while {release.id[:12]} was proven: see "
                "`recsys-assets status`, and run this again if the pointer is still lost"
            )
        return Move(versions_of(release), refs_of(release), message, {"data_through": release.data_through})

    with announced(change, release_id=release.id, refs=refs_of(release)) as announcement:
        entry = change_pointer(announcement, judge)
    return Restored(entry.after or release.id, message_of(entry), entry)


def _is_replayed(head: JournalHead) -> bool:
    """Return whether the newest swap put old bytes back: every pointer that was read is recorded by now."""
    return head.change is not None and head.change.action == "replay"


def _last_release(store: ObjectStore, target: Target) -> Release:
    """Return what was live by the last entry that was no replay of old bytes."""
    last = next((e for e in journal.changes(store, target) if e.action != "replay" and e.after is not None), None)
    if last is None or last.after is None:
        raise RefusedError(f"{target}: the journal knows of nothing that was live: publish a day")
    release = find_release(store, target, last.after)
    if release is None:
        others = alternatives(store, target, besides=last.after)
        raise RefusedError(
            f"{target}: the record of release {last.after[:12]} is gone; restore it, or roll back to: {others}"
        )
    return release
