"""Destinations of a rollback: `previous`, a release id, a tag or a time, resolved by the journal, and alternatives."""

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from recsys_assets.errors import ConfigurationError, CorruptObjectError, RefusedError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.labels import PREVIOUS, Labelled, find_label, find_tag, is_tag
from recsys_assets.release.layout import release_prefix
from recsys_assets.release.pointer import LivePointer
from recsys_assets.release.releases import (
    earlier_releases,
    find_readable_release,
    find_release,
    known_releases,
    live_at,
    refs_of,
)
from recsys_assets.release.shards import missing_blobs
from recsys_assets.storage.store import ObjectStore

SHORTEST_ID = 8
_LOOKED_AT = 50  # number of releases searched for alternatives
_SHOWN = 5
_ID = re.compile(r"[0-9a-f]{8,64}")


def choose_destination(
    store: ObjectStore, target: Target, live: LivePointer, *, to: str, now: datetime, newest: JournalEntry | None = None
) -> Release:
    """Return the record of the release that `to` refers to. `newest` is the journal's newest entry, if known.

    Raises `RefusedError` with alternatives if no such release can be used, `ConfigurationError` if `to` is not a valid
    destination or is a time in the future.
    """
    if to == PREVIOUS:
        earlier = earlier_releases(store, target, live.release_id, newest=newest)
        previous = next((release_id for release_id in earlier if not _is_bad(store, target, release_id)), None)
        return _record(store, target, previous, wanted="a release before this one that is not marked bad")
    if _ID.fullmatch(to):
        return _record(store, target, resolve_id(store, target, to), wanted=f"release {to}")
    tag = find_tag(store, target, to) if is_tag(to) else None
    if tag is not None:
        if _is_bad(store, target, tag.release):
            raise RefusedError(
                f"{target}: {to}, release {tag.release[:12]}, is marked bad. To use it anyway, give its id; otherwise: "
                f"{alternatives(store, target, exclude=tag.release)}"
            )
        return _record(store, target, tag.release, wanted=f"release {to}")
    try:
        instant = parse_rfc3339(to)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{to!r} is not a destination: expected {PREVIOUS!r}, a release id of {SHORTEST_ID} to 64 hex digits, "
            "the name of a release (`recsys-assets tag`), or a time, e.g. 2026-01-31T04:00:00Z"
        ) from error
    if instant > now:
        raise ConfigurationError(
            f"{to} is in the future (it is {rfc3339(now)}): give a time at which a release was live"
        )
    then = live_at(store, target, instant)
    if then is not None and then.release_id != live.release_id and _is_bad(store, target, then.release_id):
        raise RefusedError(
            f"{target}: the release live at {to}, {then.release_id[:12]}, is marked bad. To use it anyway, give "
            f"its id; otherwise: {alternatives(store, target, exclude=then.release_id)}"
        )
    return _record(store, target, then.release_id if then else None, wanted=f"a release that was live at {to}")


def resolve_id(store: ObjectStore, target: Target, short: str) -> str | None:
    """Return the id of the recorded release with this tag or id prefix, or None. Raises `RefusedError` if ambiguous."""
    if len(short) == 64:  # noqa: PLR2004 - a whole SHA-256
        return short
    tag = find_tag(store, target, short) if is_tag(short) else None
    if tag is not None:
        return tag.release
    prefix = release_prefix(target)
    matches = [
        item.key[len(prefix) : -len(".json")] for item in store.list(prefix) if item.key.startswith(prefix + short)
    ]
    if len(matches) > 1:
        raise RefusedError(
            f"{target}: {short} is ambiguous: {', '.join(i[:16] for i in matches[:_SHOWN])}; give more digits"
        )
    return matches[0] if matches else None


def alternatives(store: ObjectStore, target: Target, *, exclude: str) -> str:
    """Return text that lists the latest releases that are complete and not marked bad."""
    releases = (
        f"{release.id[:12]} (data through {release.data_through})"
        for release in _usable(store, target)
        if release.id != exclude
    )
    return ", ".join(islice(releases, _SHOWN)) or "none, build a day again"


def _usable(store: ObjectStore, target: Target) -> Iterator[Release]:
    for release_id in islice(known_releases(store, target), _LOOKED_AT):
        release = find_readable_release(store, target, release_id)
        if release is None or _is_bad(store, target, release_id):
            continue
        if not missing_blobs(store, target, refs_of(release)):
            yield release


def _is_bad(store: ObjectStore, target: Target, release_id: str) -> bool:
    return find_label(store, target, Labelled.BAD, release_id) is not None


def _record(store: ObjectStore, target: Target, release_id: str | None, *, wanted: str) -> Release:
    """Return the record, or raise `RefusedError` with alternatives if it is missing or unreadable."""
    cause: CorruptObjectError | None = None
    try:
        release = find_release(store, target, release_id) if release_id else None
    except CorruptObjectError as error:
        release, cause = None, error
    if release is not None:
        return release
    others = alternatives(store, target, exclude=release_id or "")
    reason = f"its record cannot be used: {cause}" if cause else "there is none"
    raise RefusedError(f"{target}: {wanted}: {reason}; possible destinations: {others}")
