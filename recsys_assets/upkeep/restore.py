"""Put a pointer back that was deleted, damaged, or replaced by old bytes: the journal knows what was live."""

from dataclasses import dataclass

from recsys_assets.errors import CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import Target
from recsys_assets.release import journal
from recsys_assets.release.change import Change, Move, Stay, announced, change_pointer
from recsys_assets.release.destination import alternatives
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import Actor, Clock, message_of
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.pointer import Current, parse_pointer
from recsys_assets.release.recovery import JournalHead
from recsys_assets.release.releases import find_release, refs_of, versions_of
from recsys_assets.release.shards import prove_members
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

RESTORE = "restore_pointer"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of it: the release that is live now, in words, and the journal's entry (None: dry run)."""

    live: str
    message: str
    entry: JournalEntry | None


def restore_pointer(store: ObjectStore, target: Target, *, by: Actor, now: Clock, dry_run: bool = False) -> Restored:
    """Make live what was live by the journal, unless the pointer says so already.

    Raises `RefusedError`, with alternatives, when the journal knows of nothing or its release cannot be served.
    """
    release = _last_release(store, target)
    prove_members(store, target, release.members)
    message = f"the pointer is put back to release {release.id[:12]}, data through {release.data_through}"
    if dry_run:
        return Restored(release.id, f"dry run: {message}", None)
    ensure_proven(store)
    change = Change(store, target, RESTORE, by, now)
    _clear_damage(store, target)

    def judge(current: Current | None, _: JournalHead) -> Move | Stay:
        if current is not None and current.release_id == release.id:
            return Stay(journal.UNCHANGED, f"release {release.id[:12]} is live already")
        return Move(versions_of(release), refs_of(release), message, {"data_through": release.data_through})

    with announced(change, release_id=release.id, refs=refs_of(release)) as announcement:
        entry = change_pointer(announcement, judge)
    return Restored(release.id, message_of(entry), entry)


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


def _clear_damage(store: ObjectStore, target: Target) -> None:
    """Remove a pointer that cannot be read, so that the next one is created; one that was repaired meanwhile stays."""
    key = pointer_key(target)
    try:
        stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
        parse_pointer(store.root_uri, target, stored.data, etag=stored.etag)
    except NotFoundError:
        return
    except CorruptObjectError:
        store.delete(key)
