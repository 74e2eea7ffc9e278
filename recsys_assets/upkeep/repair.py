"""Repairs: a pointer put back as the journal knows it, a journal completed, pointers written for a new root."""

from collections.abc import Iterable
from dataclasses import dataclass

from recsys_assets.errors import ConflictError, CorruptObjectError, RefusedError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import KeepPointer, MovePointer, PointerChange, announced, change_pointer
from recsys_assets.release.destination import alternatives
from recsys_assets.release.document_encoding import create_document, encode, read_document
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import LOST, Actor, Clock, listed_sequences, message_of, missing_sequences
from recsys_assets.release.layout import POINTERS, blob_key, journal_key, target_of_pointer
from recsys_assets.release.pointer import MAX_AHEAD, LivePointer, read_current
from recsys_assets.release.recovery import JournalHead, is_unrecorded, read_journal_head, recover
from recsys_assets.release.releases import find_release, refs_of, versions_of
from recsys_assets.release.rollout import end_rollout
from recsys_assets.release.shards import missing_blobs, prove_members
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

REPAIR = "repair"
RESTORE = "restore_pointer"
RELOCATE = "relocate"


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """The numbers of entries that were gone or unreadable, and and whether a swap was recorded only now."""

    filled: tuple[int, ...]
    recovered: bool


def repair_journal(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False
) -> RepairOutcome:
    """Make the journal whole again: every number is there and can be read, and the last swap is recorded.

    What an entry said cannot be brought back; in its place stands that it is lost, since when, and who repaired it.
    """
    lost = _lost(store, target)
    if dry_run:
        return RepairOutcome(tuple(lost), is_unrecorded(read_journal_head(store, target), read_current(store, target)))
    ensure_proven(store)
    for sequence, unreadable in lost.items():
        key, entry = journal_key(target, sequence), _holdout(sequence, by, now)
        if unreadable:
            store.put(key, encode(entry))
        else:
            create_document(store, key, entry)
    before = read_journal_head(store, target)
    after = recover(store, target, read_current(store, target), by=by, now=now())
    return RepairOutcome(tuple(lost), after != before)


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


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What became of it: the release that is live now, in words, and the journal's entry (None: dry run)."""

    live: str
    message: str
    entry: JournalEntry | None


def restore_pointer(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False, pause: Pause = wait
) -> RestoreOutcome:
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
        return RestoreOutcome(release.id, f"dry run: {message}", None)
    ensure_proven(store)
    change = PointerChange(store, target, RESTORE, by, now, replaces_damage=True, resets_time=True, pause=pause)

    def judge(current: LivePointer | None, head: JournalHead) -> MovePointer | KeepPointer:
        is_early = current is not None and current.updated_at - now() > MAX_AHEAD
        if current is not None and not is_early and (current.release_id == release.id or not _is_replayed(head)):
            return KeepPointer(journal.UNCHANGED, f"release {current.release_id[:12]} is live already")
        newest = _last_release(store, target)
        if newest.id != release.id:
            raise ConflictError(
                f"{target}: release {newest.id[:12]} became live while {release.id[:12]} was proven: see "
                "`recsys-assets status`, and run this again if the pointer is still lost"
            )
        return MovePointer(versions_of(release), refs_of(release), message, {"data_through": release.data_through})

    with announced(change, release_id=release.id, refs=refs_of(release)) as announcement:
        entry = change_pointer(announcement, judge)
    return RestoreOutcome(entry.after or release.id, message_of(entry), entry)


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


@dataclass(frozen=True, slots=True)
class RelocateOutcome:
    """What became of one pointer: from which root to which (the same: it stays), and the entry (None: dry run)."""

    target: Target
    release: str
    before: str
    after: str
    entry: JournalEntry | None = None

    @property
    def moves(self) -> bool:
        """Whether the pointer names, or named, another root than the store has now."""
        return self.before != self.after


def live_targets(store: ObjectStore) -> tuple[Target, ...]:
    """Return every target that has a pointer, whether it is configured or not."""
    found = (target_of_pointer(item.key) for item in store.list(POINTERS))
    return tuple(target for target in found if target is not None)


def relocate(
    store: ObjectStore, targets: Iterable[Target], *, by: Actor, now: Clock, dry_run: bool = True
) -> tuple[RelocateOutcome, ...]:
    """Let the pointers of these targets name the store's first URI root; the same releases stay live.

    A pointer that does so already, and a target without one, stays as it is. Each that moves goes through the
    compare-and-swap and stands in the journal. Raises `RefusedError`, before anything is written, if a live release
    lacks a blob: a copy that is not whole.
    """
    found = {target: read_current(store, target) for target in targets}
    live = {target: current for target, current in found.items() if current is not None}
    moving = {target: current for target, current in live.items() if not _names(store, current)}
    for target, current in moving.items():
        _refuse_a_part(store, target, current)
    if moving and not dry_run:
        ensure_proven(store)
    return tuple(_relocate(store, target, current, by, now, dry_run=dry_run) for target, current in live.items())


def _names(store: ObjectStore, current: LivePointer) -> bool:
    return all(uri.startswith(f"{store.uri_roots[0]}/") for uri in current.pointer.current.values())


def _refuse_a_part(store: ObjectStore, target: Target, current: LivePointer) -> None:
    release = find_release(store, target, current.release_id)
    if release is None:
        raise RefusedError(
            f"{target}: the record of release {current.release_id[:12]} is not here: copy the whole store"
        )
    missing = missing_blobs(store, target, refs_of(release))
    if missing:
        names = ", ".join(f"{ref.kind} {ref.version[:12]}" for ref in missing)
        raise RefusedError(f"{target}: {names} of the live release are not here: copy the whole store")


def _relocate(
    store: ObjectStore, target: Target, current: LivePointer, by: Actor, now: Clock, *, dry_run: bool
) -> RelocateOutcome:
    kind, uri = next(iter(current.pointer.current.items()))
    before, after = uri.removesuffix(f"/{blob_key(target, kind, current.versions[kind])}"), store.uri_roots[0]
    if dry_run or _names(store, current):
        return RelocateOutcome(target, current.release_id, before, after)
    release = find_release(store, target, current.release_id)
    refs = refs_of(release) if release is not None else ()
    message = f"the pointer names {after} now, {before} before"

    def judge(found: LivePointer | None, _: JournalHead) -> MovePointer | KeepPointer:
        if found is None or _names(store, found):
            return KeepPointer(journal.UNCHANGED, "the pointer is gone, or names this root already")
        return MovePointer(found.versions, refs if found.release_id == current.release_id else (), message)

    end_rollout(store, target, why="the store was relocated", by=by, now=now)  # its pointer names the former root
    change = PointerChange(store, target, RELOCATE, by, now)
    with announced(change, release_id=current.release_id, refs=refs) as announcement:
        entry = change_pointer(announcement, judge)
    return RelocateOutcome(target, current.release_id, before, after, entry)
