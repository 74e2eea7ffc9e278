"""Release records, each checked against its id when read, and destinations of a rollback.

A record is made from a verified candidate and written once. A destination is `previous`, a release id, a tag or a time.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Final

import msgspec

from recsys_assets.artifact_format import SHARDS_FORM, parse, sharded_kind, version_of
from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, form_of, parse_rfc3339, rfc3339
from recsys_assets.release.candidate import Candidate
from recsys_assets.release.document_encoding import create_document, encode, if_readable, read_document
from recsys_assets.release.documents import RELEASE_FORMAT, Build, JournalEntry, Release
from recsys_assets.release.journal import changes
from recsys_assets.release.labels import PREVIOUS, Labelled, find_label, find_tag, is_tag
from recsys_assets.release.layout import blob_key, release_key, release_prefix
from recsys_assets.release.pointer import LivePointer, release_id_of
from recsys_assets.release.shards import check_digits, missing_blobs, parse_index
from recsys_assets.storage.store import ObjectStore

_NO_SHIP = {"roll_back", "restore_pointer", "replay"}
_MAX_BYTES: Final = 1 << 31
SHORTEST_ID = 8
_LOOKED_AT = 50  # number of releases searched for alternatives
_SHOWN = 5
_ID = re.compile(r"[0-9a-f]{8,64}")


def release_of(target: Target, candidate: Candidate, *, build: Build, now: datetime, parent: str | None) -> Release:
    """Return the record of a candidate. Its id depends only on target, kinds and versions."""
    release = Release(
        id=release_id_of(target, candidate.versions),
        tenant=target.tenant,
        surface=target.surface,
        segment=target.segment,
        data_through=candidate.day.isoformat(),
        members=candidate.members,
        canonical=candidate.canonical,
        gates=candidate.gates,
        build=build,
        recorded_at=rfc3339(now),
        parent=parent,
    )
    return msgspec.structs.replace(release, digest=digest_of(release))


def digest_of(release: Release) -> str:
    """Return the SHA-256 of a record's bytes without its `digest` field."""
    return hashlib.sha256(encode(msgspec.structs.replace(release, digest=msgspec.UNSET))).hexdigest()


def record(store: ObjectStore, target: Target, release: Release) -> Release:
    """Write the record and return it, or return the stored one: equal refs are the same release, first evidence counts.

    Raises `CorruptObjectError` if the stored record cannot be trusted.
    """
    try:
        create_document(store, release_key(target, release.id), release)
    except ConflictError:
        return read_release(store, target, release.id)
    return release


def read_release(store: ObjectStore, target: Target, release_id: str) -> Release:
    """Return one release record, checked against its id.

    Raises `NotFoundError` if there is none, `CorruptObjectError` if the record does not match its id or digest.
    """
    key = release_key(target, release_id)
    release = read_document(store, key, Release)
    computed = release_id_of(target, versions_of(release))
    if (release.id, computed) != (release_id, release_id):
        raise CorruptObjectError(
            f"{key} is the record of {release.id[:12]}, but its refs give {computed[:12]}: restore it from a backup, "
            "or remove it and publish its day again"
        )
    fault = _record_fault(release)
    if fault is not None:
        raise CorruptObjectError(f"{key} {fault}: restore it from a backup, or remove it and publish its day again")
    return release


def _record_fault(release: Release) -> str | None:
    """Return the fault of a record that was changed after it was written, or None."""
    if not is_former(release) and release.digest != digest_of(release):
        return "was changed after it was written: its digest does not match"
    ends = sorted({member.window_last for member in release.members})
    if ends != [release.data_through]:
        return f"states that its data ends {release.data_through}, but its artifacts' windows end {', '.join(ends)}"
    return None


def is_former(release: Release) -> bool:
    """Return whether a record has a format without a digest. Only its artifacts can prove its content then."""
    return release.v < RELEASE_FORMAT and release.digest is msgspec.UNSET


def find_release(store: ObjectStore, target: Target, release_id: str) -> Release | None:
    """Return one release record, or None if there is none."""
    try:
        return read_release(store, target, release_id)
    except NotFoundError:
        return None


def find_readable_release(store: ObjectStore, target: Target, release_id: str | None) -> Release | None:
    """Return one release record, or None if it is missing or cannot be trusted (`verify` reports those)."""
    return if_readable(lambda: find_release(store, target, release_id)) if release_id else None


def refs_of(release: Release) -> tuple[ArtifactRef, ...]:
    """Return every object of a release: its blobs, its indexes, and their shards."""
    return tuple(ref for member in release.members for ref in member.refs)


def release_numbers(release: Release) -> dict[str, Scalar]:
    """Return the numbers of a release that are charted over days: total bytes, and rows by kind."""
    return {
        "bytes": sum(member.size for member in release.members),
        **{f"rows/{sharded_kind(member.ref.kind)}": member.facts.get("rows") for member in release.members},
    }


def versions_of(release: Release) -> dict[str, str]:
    """Return the version of each kind, which together identify a release."""
    return {member.ref.kind: member.ref.version for member in release.members}


class LiveAt(msgspec.Struct, frozen=True):
    """The release that was live at a given time, the entry that made it live, and its record (None: missing)."""

    release_id: str
    entry: JournalEntry
    record: Release | None
    collected: tuple[str, ...]  # kinds whose blob is no longer in the store


def live_at(store: ObjectStore, target: Target, instant: datetime) -> LiveAt | None:
    """Return the release that was live at a given time, or None if there was none yet."""
    for entry in changes(store, target):
        since = effective(entry)
        if since is not None and since <= instant and entry.after is not None:
            record = find_release(store, target, entry.after)
            missing = missing_blobs(store, target, refs_of(record)) if record else ()
            return LiveAt(entry.after, entry, record, tuple(ref.kind for ref in missing))
    return None


def effective(entry: JournalEntry) -> datetime | None:
    """Return the time when the entry's release became live: the pointer's or, for a replay, the entry's own."""
    instant = entry.at if entry.action == "replay" else entry.pointer_at
    return parse_rfc3339(instant) if instant else None


def earlier_releases(
    store: ObjectStore, target: Target, live: str, *, newest: JournalEntry | None = None
) -> Iterator[str]:
    """Yield the ids of the releases that were live before `live` was shipped, latest first, each once.

    The search starts at the last ship of `live`, not at the newest entry: after a rollback the newest entry is the
    rollback itself, and a second rollback must go further back, not forward. `newest` is the journal's newest entry,
    if the caller has read it.
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
    """Yield the id of every release that was ever live, latest first, each once."""
    seen: set[str] = set()
    for entry in changes(store, target):
        if entry.after is not None and entry.after not in seen:
            seen.add(entry.after)
            yield entry.after


def data_through_of(store: ObjectStore, target: Target, live: LivePointer) -> str | None:
    """Return the last day in the windows of the live artifacts that match their version. None if none has a window."""
    ends = [end for kind, version in live.versions.items() if (end := _end(store, target, kind, version)) is not None]
    return (max(ends) - timedelta(days=1)).isoformat() if ends else None


def _end(store: ObjectStore, target: Target, kind: str, version: str) -> date | None:
    """Return the first day after an artifact's window, or None if it is damaged, or its format has no window."""
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
        return None  # `verify` reports it


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
