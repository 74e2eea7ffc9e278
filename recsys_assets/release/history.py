"""The releases that were live, and when, by the journal alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.release.blob import missing_blobs
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import changes
from recsys_assets.release.releases import find_release, refs_of
from recsys_assets.storage.store import ObjectStore

_NO_SHIP = {"roll_back", "restore_pointer", "replay"}


@dataclass(frozen=True, slots=True)
class LiveAt:
    """What was live at an instant: the release, the entry that made it live, its record, and what of it is gone."""

    release_id: str
    entry: JournalEntry
    record: Release | None
    collected: tuple[str, ...]  # kinds whose blob is no longer in the store


def live_at(store: ObjectStore, target: Target, instant: datetime) -> LiveAt | None:
    """Return what was live at an instant, or None if nothing was yet."""
    for entry in changes(store, target):
        since = effective(entry)
        if since is not None and since <= instant and entry.after is not None:
            record = find_release(store, target, entry.after)
            missing = missing_blobs(store, target, refs_of(record)) if record else ()
            return LiveAt(entry.after, entry, record, tuple(ref.kind for ref in missing))
    return None


def effective(entry: JournalEntry) -> datetime | None:
    """Return since when the entry's release was live: the pointer's own time, or, of old bytes put back, when seen."""
    instant = entry.at if entry.action == "replay" else entry.pointer_at
    return parse_rfc3339(instant) if instant else None


def earlier_releases(
    store: ObjectStore, target: Target, live: str, *, newest: JournalEntry | None = None
) -> Iterator[str]:
    """Yield the releases that were live before `live` was shipped, the latest first, each once.

    Counted from the last time that `live` was shipped, not from the newest entry: after a rollback the newest entry is
    the rollback itself, and going back again must go further back, not forth. `newest` is the journal's newest entry,
    if it is known already.
    """
    seen = {live}
    shipped = False
    for entry in changes(store, target, newest=newest):
        earlier = entry.after if shipped else None
        if entry.after == live and entry.before != live and entry.action not in _NO_SHIP:
            shipped, earlier = True, entry.before
        if earlier is not None and earlier not in seen:
            seen.add(earlier)
            yield earlier


def known_releases(store: ObjectStore, target: Target) -> Iterator[str]:
    """Yield every release that ever was live, the latest first, each once."""
    seen: set[str] = set()
    for entry in changes(store, target):
        if entry.after is not None and entry.after not in seen:
            seen.add(entry.after)
            yield entry.after
