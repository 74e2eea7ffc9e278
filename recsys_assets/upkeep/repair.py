"""Repairs: restoring a pointer from the journal, completing a journal, rewriting pointers for a new root."""

from collections.abc import Iterable

import msgspec

from recsys_assets.errors import ConflictError, CorruptObjectError, RefusedError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import KeepPointer, MovePointer, PointerChange, announced, change_pointer
from recsys_assets.release.document_encoding import create_document, encode, read_document
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import LOST, Actor, Clock, listed_sequences, message_of, missing_sequences
from recsys_assets.release.layout import blob_key, journal_key
from recsys_assets.release.pointer import MAX_AHEAD, LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, is_unrecorded, read_journal_head, recover
from recsys_assets.release.releases import alternatives, find_release, refs_of, versions_of
from recsys_assets.release.rollout import end_rollout
from recsys_assets.release.shards import missing_blobs, prove_members
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

REPAIR = "repair"
RESTORE = "restore_pointer"
RELOCATE = "relocate"


class RepairOutcome(msgspec.Struct, frozen=True):
    """Outcome of a journal repair: numbers of lost entries, and whether an unrecorded swap was journaled."""

    filled: tuple[int, ...]
    recovered: bool


def repair_journal(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False
) -> RepairOutcome:
    """Complete the journal: replace every missing or unreadable entry, and record the last swap.

    The content of such an entry is lost. Its replacement states that, with the time and the actor of the repair.
    """
    lost = _lost(store, target)
    if dry_run:
        return RepairOutcome(tuple(lost), is_unrecorded(read_journal_head(store, target), read_current(store, target)))
    ensure_proven(store)
    for sequence, unreadable in lost.items():
        key, entry = journal_key(target, sequence), _replacement(sequence, by, now)
        if unreadable:
            store.put(key, encode(entry))
        else:
            create_document(store, key, entry)
    before = read_journal_head(store, target)
    after = recover(store, target, read_current(store, target), by=by, now=now())
    return RepairOutcome(tuple(lost), after != before)


def _lost(store: ObjectStore, target: Target) -> dict[int, bool]:
    """Return the numbers of missing (False) and unreadable (True) entries."""
    lost = dict.fromkeys(missing_sequences(store, target), False)
    for sequence in listed_sequences(store, target):
        try:
            read_document(store, journal_key(target, sequence), JournalEntry)
        except CorruptObjectError:
            lost[sequence] = True
    return dict(sorted(lost.items()))


def _replacement(sequence: int, by: Actor, now: Clock) -> JournalEntry:
    return JournalEntry(
        sequence=sequence,
        at=rfc3339(now()),
        action=REPAIR,
        outcome=LOST,
        actor=by.name,
        reason="the entry was missing or unreadable",
        run_id=by.run_id,
        before=None,
        after=None,
        last_change=sequence - 1,
    )


class RestoreOutcome(msgspec.Struct, frozen=True):
    """Outcome of restoring a pointer: the live release, and the journal entry (None: dry run)."""

    live: str
    message: str
    entry: JournalEntry | None


def restore_pointer(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False, pause: Pause = wait
) -> RestoreOutcome:
    """Restore the live pointer from the journal if it is missing, damaged, or was replaced by older bytes.

    A pointer with a time in the future, from a wrong clock, gets the current time. The decision is made on the pointer
    that is replaced: one that agrees with the journal stays, whoever wrote it in the meantime.

    Raises `RefusedError`, with alternatives, if the journal has no release or it cannot be served, and `ConflictError`
    if another release became live while this one was verified: run it again.
    """
    release = _last_release(store, target)
    prove_members(store, target, release.members)
    message = f"the pointer is restored to release {release.id[:12]}, data through {release.data_through}"
    if dry_run:
        return RestoreOutcome(release.id, f"dry run: {message}", None)
    ensure_proven(store)
    change = PointerChange(store, target, RESTORE, by, now, replaces_damage=True, resets_time=True, pause=pause)

    def judge(current: LivePointer | None, head: JournalHead) -> MovePointer | KeepPointer:
        is_early = current is not None and current.updated_at - now() > MAX_AHEAD
        if current is not None and not is_early and (current.release_id == release.id or not _is_replayed(head)):
            return KeepPointer(journal.UNCHANGED, f"release {current.release_id[:12]} is already live")
        newest = _last_release(store, target)
        if newest.id != release.id:
            raise ConflictError(
                f"{target}: release {newest.id[:12]} became live while {release.id[:12]} was verified: see "
                "`recsys-assets status`, and run this again if the pointer is still lost"
            )
        return MovePointer(versions_of(release), refs_of(release), message, {"data_through": release.data_through})

    with announced(change, release_id=release.id, refs=refs_of(release)) as announcement:
        entry = change_pointer(announcement, judge)
    return RestoreOutcome(entry.after or release.id, message_of(entry), entry)


def _is_replayed(head: JournalHead) -> bool:
    """Return whether the newest swap is a replay of old bytes. Every pointer read so far is recorded."""
    return head.change is not None and head.change.action == "replay"


def _last_release(store: ObjectStore, target: Target) -> Release:
    """Return the release of the last swap that is not a replay of old bytes."""
    last = next((e for e in journal.changes(store, target) if e.action != "replay" and e.after is not None), None)
    if last is None or last.after is None:
        raise RefusedError(f"{target}: the journal contains no live release: publish a day")
    release = find_release(store, target, last.after)
    if release is None:
        others = alternatives(store, target, exclude=last.after)
        raise RefusedError(
            f"{target}: the record of release {last.after[:12]} is missing; restore it, or roll back to: {others}"
        )
    return release


class RelocateOutcome(msgspec.Struct, frozen=True):
    """Outcome for one pointer: its root before and after (equal: unchanged), and the journal entry (None: dry run)."""

    target: Target
    release: str
    before: str
    after: str
    entry: JournalEntry | None = None

    @property
    def moves(self) -> bool:
        """Whether the pointer's root differed from the store's."""
        return self.before != self.after


def relocate(
    store: ObjectStore, targets: Iterable[Target], *, by: Actor, now: Clock, dry_run: bool = True
) -> tuple[RelocateOutcome, ...]:
    """Rewrite the pointers of these targets for the store's first URI root. The same releases stay live.

    Pointers that use this root, and targets without a pointer, are unchanged. Each rewrite is a compare-and-swap with a
    journal entry. Raises `RefusedError`, before anything is written, if a live release lacks a blob: the copy is
    incomplete.
    """
    pointers = {target: read_current(store, target) for target in targets}
    live = {target: current for target, current in pointers.items() if current is not None}
    moving = {target: current for target, current in live.items() if not _uses_root(store, current)}
    for target, current in moving.items():
        _check_complete(store, target, current)
    if moving and not dry_run:
        ensure_proven(store)
    return tuple(_relocate(store, target, current, by, now, dry_run=dry_run) for target, current in live.items())


def _uses_root(store: ObjectStore, current: LivePointer) -> bool:
    return all(uri.startswith(f"{store.uri_roots[0]}/") for uri in current.pointer.current.values())


def _check_complete(store: ObjectStore, target: Target, current: LivePointer) -> None:
    release = find_release(store, target, current.release_id)
    if release is None:
        raise RefusedError(
            f"{target}: the record of release {current.release_id[:12]} is missing: copy the whole store"
        )
    missing = missing_blobs(store, target, refs_of(release))
    if missing:
        names = ", ".join(f"{ref.kind} {ref.version[:12]}" for ref in missing)
        raise RefusedError(f"{target}: {names} of the live release are missing: copy the whole store")


def _relocate(
    store: ObjectStore, target: Target, current: LivePointer, by: Actor, now: Clock, *, dry_run: bool
) -> RelocateOutcome:
    kind, uri = next(iter(current.pointer.current.items()))
    before, after = uri.removesuffix(f"/{blob_key(target, kind, current.versions[kind])}"), store.uri_roots[0]
    if dry_run or _uses_root(store, current):
        return RelocateOutcome(target, current.release_id, before, after)
    release = find_release(store, target, current.release_id)
    refs = refs_of(release) if release is not None else ()
    message = f"the root of the pointer changed from {before} to {after}"

    def judge(replaced: LivePointer | None, _: JournalHead) -> MovePointer | KeepPointer:
        if replaced is None or _uses_root(store, replaced):
            return KeepPointer(journal.UNCHANGED, "the pointer is missing, or uses this root already")
        return MovePointer(replaced.versions, refs if replaced.release_id == current.release_id else (), message)

    end_rollout(
        store, target, why="the store was relocated", by=by, now=now
    )  # its candidate pointer uses the former root
    change = PointerChange(store, target, RELOCATE, by, now)
    with announced(change, release_id=current.release_id, refs=refs) as announcement:
        entry = change_pointer(announcement, judge)
    return RelocateOutcome(target, current.release_id, before, after, entry)
