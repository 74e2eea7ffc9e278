"""The releases that were live, and when, by the journal; the age of live data by its artifacts alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from recsys_assets.artifact_format import parse, version_of
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError
from recsys_assets.identity import JSON_FORM, Target, form_of, parse_rfc3339
from recsys_assets.release.blob import check_digits, missing_blobs
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import changes
from recsys_assets.release.layout import blob_key
from recsys_assets.release.pointer import Current
from recsys_assets.release.releases import find_release, refs_of
from recsys_assets.release.shards import parse_index
from recsys_assets.sharding import SHARDS_FORM
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


_MAX_BYTES: Final = 1 << 31


def data_through_of(store: ObjectStore, target: Target, live: Current) -> str | None:
    """Return the last day inside the windows of the live artifacts, each proven by its version; None if none says."""
    ends = [end for kind, version in live.versions.items() if (end := _end(store, target, kind, version)) is not None]
    return (max(ends) - timedelta(days=1)).isoformat() if ends else None


def _end(store: ObjectStore, target: Target, kind: str, version: str) -> date | None:
    """Return the first day after an artifact's window; None if it is damaged, or of a form that names no window."""
    key = blob_key(target, kind, version)
    try:
        data = store.get(key, max_bytes=_MAX_BYTES).data
        if form_of(version) == JSON_FORM:
            end = parse(data, name=key).envelope.window_end if version_of(data, name=key) == version else None
        else:
            check_digits(version, hashlib.sha256(data).hexdigest(), name=key)
            is_index = form_of(version) == SHARDS_FORM
            end = parse_index(data, target, kind, name=key).window.end if is_index else None
        return None if end is None else parse_rfc3339(end).date()
    except (NotFoundError, CorruptObjectError, ConfigurationError):
        return None  # `verify` names it
