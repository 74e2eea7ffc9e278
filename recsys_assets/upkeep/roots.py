"""Roots of garbage collection: every blob that a live, retained, pinned, announced or staged object needs, and why."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import islice

import msgspec

from recsys_assets.errors import CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import ArtifactRef, Target, parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import Intent, JournalEntry, Release, StagedArtifact, StagedDay
from recsys_assets.release.journal import HELD, LOST, missing_sequences, newest_first
from recsys_assets.release.labels import Labelled, labelled, list_tags
from recsys_assets.release.layout import (
    intent_prefix,
    is_intent_key,
    release_key,
    release_prefix,
    staged_day_key,
    staged_prefix,
    sweep_key,
)
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.releases import effective, find_readable_release, read_release, refs_of
from recsys_assets.release.rollout import rolling_release
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.retire import retired_at

KEEP = 7
GRACE = timedelta(days=1)
HORIZON = "horizon"  # detail of a collection's entry: older entries keep no release


class Retention(msgspec.Struct, frozen=True):
    """Number of good, formerly live releases to keep, and the grace period of unneeded blobs."""

    keep: int = KEEP
    grace: timedelta = GRACE


class Roots(msgspec.Struct, frozen=True):
    """Releases and blobs (kind, version) of a target to keep, each with the reason, and stale intents."""

    releases: Mapping[str, str]
    blobs: Mapping[tuple[str, str], str]
    named: Mapping[tuple[str, str], str]  # subset of `blobs` in releases: a listing must contain all of them
    stale_intents: tuple[str, ...]
    refs: Mapping[tuple[str, str], ArtifactRef]  # references of `named`, to verify restored blobs


def read_roots(
    store: ObjectStore, target: Target, retention: Retention, *, now: datetime, sweeping: bool = False
) -> Roots:
    """Return everything that collection must keep.

    Raises `RefusedError` if that cannot be determined with certainty.
    """
    _refuse_gaps(store, target)
    intents = _intents(store, target, sweeping=sweeping)  # read before the pointer: a change writes its intent first
    live = read_current(store, target)
    if live is None:
        return _roots_of_retired(store, target, intents, retention, now=now)
    releases = retained_releases(store, target, live, keep=retention.keep, left_since=now - retention.grace, now=now)
    rolling = rolling_release(store, target, live=live.release_id)  # read after the intents, like the pointer
    if rolling is not None:
        releases.setdefault(rolling, "being rolled out")
    named, refs = _named(store, target, releases)
    blobs = dict(named)
    stale = tuple(key for key, intent in intents.items() if now - parse_rfc3339(intent.at) > retention.grace)
    for key, intent in intents.items():
        if key not in stale:
            _add(blobs, intent.refs, f"announced at {intent.at}: {intent.action} by {intent.actor}")
    since = date.fromisoformat(_must_read(store, target, live.release_id).data_through)
    for day, staged in _staged(store, target, since=since):
        _add(blobs, staged, f"staged for {day}")
    return Roots(releases, blobs, named, stale, refs)


def _refuse_gaps(store: ObjectStore, target: Target) -> None:
    """Raise `RefusedError` if a journal entry is missing: the releases it keeps would be collected."""
    missing = missing_sequences(store, target)
    if missing:
        raise RefusedError(
            f"{target}: the journal lacks {plural(len(missing), 'entry')} of {missing[0]} to {missing[-1]}, so the "
            "former live releases are unknown. If a lifecycle rule of the bucket deletes objects by age, remove it. "
            "Restore the entries from a backup, or replace them by `recsys-assets reindex`; nothing is collected"
        )


def _roots_of_retired(
    store: ObjectStore, target: Target, intents: Mapping[str, Intent], retention: Retention, *, now: datetime
) -> Roots:
    """Return the roots of a target retired at least a grace period ago: pinned and tagged releases, and intents.

    Without a pointer, no swap can fence off a change under way. So every intent counts, however old: a change writes
    its intent before it checks for a collection, and a collection writes its record before it reads the intents.
    """
    retired = retired_at(store, target)
    if retired is None:
        raise RefusedError(f"{target}: nothing is live: check the root, or restore the pointer; nothing is collected")
    if now - retired < retention.grace:
        raise RefusedError(
            f"{target} was retired at {retired}: its releases can be restored until {retired + retention.grace} and "
            "are collected after that; nothing is collected"
        )
    releases = _kept_by_name(store, target, now=now)
    named, refs = _named(store, target, releases)
    blobs = dict(named)
    for key, intent in intents.items():
        _add(
            blobs,
            intent.refs,
            f"announced by {key}: {intent.action} by {intent.actor}; remove it if that change is not under way",
        )
    return Roots(releases, blobs, named, (), refs)


def _named(
    store: ObjectStore, target: Target, releases: Mapping[str, str]
) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], ArtifactRef]]:
    """Return the reason to keep each artifact of the releases, and its reference."""
    named: dict[tuple[str, str], str] = {}
    refs: dict[tuple[str, str], ArtifactRef] = {}
    for release_id, reason in releases.items():
        for ref in refs_of(_must_read(store, target, release_id)):
            named.setdefault((ref.kind, ref.version), f"release {release_id[:12]}: {reason}")
            refs[ref.kind, ref.version] = ref
    return named, refs


def retained_releases(
    store: ObjectStore,
    target: Target,
    live: LivePointer,
    *,
    keep: int,
    left_since: datetime | None = None,
    now: datetime | None = None,
) -> dict[str, str]:
    """Return the releases to keep with the reason: live, pinned, tagged, held, or one of the last `keep` good ones.

    With `left_since`, also those that were live after that time, because caches of consumers may refer to them. Without
    `now` an expired pin also keeps its release.

    Raises `RefusedError` if a journal entry that must be read is lost.
    """
    bad = set(labelled(store, target, Labelled.BAD))
    retained = {live.release_id: "live"}
    retained |= _kept_by_name(store, target, now=now)
    retained |= dict.fromkeys(set(_held_back(store, target)) - set(retained), "recorded under a hold")
    good = 0
    lost: list[int] = []
    for release, _ in _last_live(store, target, bad, keep=keep, left_since=left_since, lost=lost):
        reason = f"one of the last {keep}" if good < keep else "live until recently, so caches may refer to it"
        retained.setdefault(release, "marked bad, kept in addition to the good ones" if release in bad else reason)
        good += release not in bad
    if lost:
        reason = f"one of the last {keep} recorded, as journal entries are lost"
        for release in islice((recorded for recorded in _recorded(store, target) if recorded not in bad), keep):
            retained.setdefault(release, reason)
    return retained


def _kept_by_name(store: ObjectStore, target: Target, *, now: datetime | None) -> dict[str, str]:
    """Return the releases that users asked to keep: pinned and tagged ones."""
    tagged = {tag.release: f"tagged {tag.name}" for tag in list_tags(store, target)}
    return tagged | dict.fromkeys(labelled(store, target, Labelled.PINNED, now=now), "pinned")


def _recorded(store: ObjectStore, target: Target) -> Iterator[str]:
    """Yield the releases with a readable record, newest record first."""
    prefix = release_prefix(target)
    for item in sorted(store.list(prefix), key=lambda item: item.modified, reverse=True):
        release_id = item.key[len(prefix) :].removesuffix(".json")
        if find_readable_release(store, target, release_id) is not None:
            yield release_id


def horizon(store: ObjectStore, target: Target, *, keep: int, left_since: datetime) -> int:
    """Return the number of the oldest journal entry that keeps a release. Older releases may be collected."""
    bad = set(labelled(store, target, Labelled.BAD))
    retained = _last_live(store, target, bad, keep=keep, left_since=left_since, lost=[])
    return min((entry.sequence for _, entry in retained), default=0)


def _last_live(
    store: ObjectStore, target: Target, bad: set[str], *, keep: int, left_since: datetime | None, lost: list[int]
) -> Iterator[tuple[str, JournalEntry]]:
    """Yield the formerly live releases, newest first, with the newest entry of each.

    It ends when `keep` of them are good and the next one was last live before `left_since`. Releases marked bad do not
    count, so that a series of bad nights never displaces the last good one. It also ends at the horizon of an earlier
    collection. Otherwise a later bad mark would require releases that were already collected. The numbers of lost
    entries that a repair replaced are added to `lost`: releases only in those entries are not yielded.
    """
    seen: set[str] = set()
    end, left_at = 0, None  # Time at which the entry's release was replaced. None: still live, or unknown.
    for entry in _readable(store, target):
        horizon_before = entry.details.get(HORIZON)
        end = max(end, horizon_before) if isinstance(horizon_before, int) else end
        if entry.outcome == LOST:
            lost.append(entry.sequence)
        is_enough = len(seen - bad) >= keep
        if entry.sequence < end or (is_enough and (left_since is None or (left_at or left_since) <= left_since)):
            return
        if entry.changed and entry.after is not None and entry.after not in seen:
            seen.add(entry.after)
            yield entry.after, entry
        left_at = effective(entry) if entry.changed else left_at


def _held_back(store: ObjectStore, target: Target) -> Iterator[str]:
    """Yield the releases recorded under a hold since the last swap of the pointer."""
    for entry in _readable(store, target):
        if entry.changed:
            return
        if entry.outcome == HELD:
            yield str(entry.details["release"])


def _readable(store: ObjectStore, target: Target) -> Iterator[JournalEntry]:
    for entry in newest_first(store, target):
        if entry.action == LOST:
            raise RefusedError(
                f"{target}: journal entry {entry.sequence} is lost ({entry.reason}), so the former live releases are "
                "unknown: repair the journal by `recsys-assets reindex`; nothing is collected"
            )
        yield entry


def _must_read(store: ObjectStore, target: Target, release_id: str) -> Release:
    try:
        return read_release(store, target, release_id)
    except (NotFoundError, CorruptObjectError) as error:
        raise RefusedError(
            f"{target}: the blobs of release {release_id[:12]} are unknown: {error}; restore "
            f"{release_key(target, release_id)} from a backup; nothing is collected"
        ) from error


def _intents(store: ObjectStore, target: Target, *, sweeping: bool) -> dict[str, Intent]:
    """Return every intent. Raises `RefusedError` for an unreadable one, because it may refer to any blob."""
    listed = [item.key for item in store.list(intent_prefix(target))]
    if sweeping and sweep_key(target) not in listed:
        raise RefusedError(f"{target}: the listing of intents is incomplete: retry; nothing is collected")
    intents: dict[str, Intent] = {}
    for key in listed:
        if not is_intent_key(target, key):
            continue
        try:
            intents[key] = read_document(store, key, Intent)
        except NotFoundError:
            continue  # Finished since the listing. Its release is in the pointer, which is read later.
        except CorruptObjectError as error:
            raise RefusedError(
                f"{target}: {error}; remove {key} if no change is under way; nothing is collected"
            ) from error
    return intents


def _staged(store: ObjectStore, target: Target, *, since: date) -> Iterator[tuple[date, tuple[ArtifactRef, ...]]]:
    """Yield the artifacts staged for days from the live one on, because they may be about to ship."""
    prefix = staged_prefix(target)
    for item in store.list(prefix):
        day_text, _, name = item.key[len(prefix) :].partition("/")
        if name.endswith(".gates.json"):
            continue
        try:
            day = date.fromisoformat(day_text.removesuffix(".json"))
            if day < since:
                continue
            if item.key != staged_day_key(target, day):
                yield day, read_document(store, item.key, StagedArtifact).refs
            else:
                for staged in read_document(store, item.key, StagedDay).artifacts.values():
                    yield day, staged.refs
        except (ValueError, NotFoundError, CorruptObjectError):
            continue  # cannot ship until it is built again


def _add(blobs: dict[tuple[str, str], str], refs: Iterable[ArtifactRef], reason: str) -> None:
    for ref in refs:
        blobs.setdefault((ref.kind, ref.version), reason)
