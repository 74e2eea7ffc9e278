"""Relocation: pointers written again below the root that the store has now; releases, blobs and history stay."""

from collections.abc import Iterable
from dataclasses import dataclass

from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target
from recsys_assets.release import journal
from recsys_assets.release.blob import missing_blobs
from recsys_assets.release.change import Change, Move, Stay, announced, change_pointer
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import POINTERS, blob_key, target_of_pointer
from recsys_assets.release.pointer import Current, read_current
from recsys_assets.release.recovery import JournalHead
from recsys_assets.release.releases import find_release, refs_of
from recsys_assets.release.rollout import end_rollout
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

RELOCATE = "relocate"


@dataclass(frozen=True, slots=True)
class Relocated:
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
) -> tuple[Relocated, ...]:
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


def _names(store: ObjectStore, current: Current) -> bool:
    return all(uri.startswith(f"{store.uri_roots[0]}/") for uri in current.pointer.current.values())


def _refuse_a_part(store: ObjectStore, target: Target, current: Current) -> None:
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
    store: ObjectStore, target: Target, current: Current, by: Actor, now: Clock, *, dry_run: bool
) -> Relocated:
    kind, uri = next(iter(current.pointer.current.items()))
    before, after = uri.removesuffix(f"/{blob_key(target, kind, current.versions[kind])}"), store.uri_roots[0]
    if dry_run or _names(store, current):
        return Relocated(target, current.release_id, before, after)
    release = find_release(store, target, current.release_id)
    refs = refs_of(release) if release is not None else ()
    message = f"the pointer names {after} now, {before} before"

    def judge(found: Current | None, _: JournalHead) -> Move | Stay:
        if found is None or _names(store, found):
            return Stay(journal.UNCHANGED, "the pointer is gone, or names this root already")
        return Move(found.versions, refs if found.release_id == current.release_id else (), message)

    end_rollout(store, target, why="the store was relocated", by=by, now=now)  # its pointer names the former root
    change = Change(store, target, RELOCATE, by, now)
    with announced(change, release_id=current.release_id, refs=refs) as announcement:
        entry = change_pointer(announcement, judge)
    return Relocated(target, current.release_id, before, after, entry)
