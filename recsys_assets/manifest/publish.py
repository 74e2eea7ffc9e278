"""Publish: prove what a day staged on the bytes that are stored, record it as a release, and move the pointer last."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from recsys_assets.errors import ConflictError, NotFoundError, RefusedError
from recsys_assets.identity import Target, rfc3339
from recsys_assets.manifest import journal
from recsys_assets.manifest.blob import prove_blobs
from recsys_assets.manifest.candidate import Candidate, Requirement, read_candidate, release_of
from recsys_assets.manifest.documents import Build, Intent, Release, encode, read_document
from recsys_assets.manifest.faults import reach
from recsys_assets.manifest.hold import standing_hold
from recsys_assets.manifest.journal import Actor
from recsys_assets.manifest.layout import intent_key, release_key
from recsys_assets.manifest.pointer import Current, make_pointer, read_current, swap_pointer
from recsys_assets.storage.store import ObjectStore

MAX_ATTEMPTS = 8
Clock = Callable[[], datetime]


class Shipped(StrEnum):
    """How a publish ended; a refused one raises instead."""

    SHIPPED = "done"
    UNCHANGED = "unchanged"
    OLDER = "older"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a publish ended, which release it was about, and which release is live now."""

    how: Shipped
    release: Release
    live: str | None
    told: str


def publish(  # noqa: PLR0913 - each is an independent fact of a publish
    store: ObjectStore,
    target: Target,
    day: date,
    *,
    kinds: Sequence[str],
    requirements: Mapping[str, Requirement],
    build: Build,
    by: Actor,
    now: Clock,
    allow_older: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Ship the artifacts that a day staged, if they may; what is live stays live in every other case.

    Raises `RefusedError` (journaled) when a gate, a blob or a rule says no, `ConflictError` when others kept winning.
    """
    current = read_current(store, target)
    if not dry_run:
        journal.recover(store, target, current, by=by, now=now())
    try:
        candidate = read_candidate(store, target, day, kinds=kinds, requirements=requirements)
        if dry_run:
            prove_blobs(store, target, candidate.refs)
            return _rehearse(store, target, candidate, current, build=build, now=now(), allow_older=allow_older)
        return _publish(store, target, candidate, build=build, by=by, now=now, allow_older=allow_older)
    except RefusedError as error:
        if not dry_run:
            _tell(store, target, "refused", by=by, now=now(), live=current, told=str(error), day=day)
        raise


def _publish(
    store: ObjectStore,
    target: Target,
    candidate: Candidate,
    *,
    build: Build,
    by: Actor,
    now: Clock,
    allow_older: bool,
) -> Outcome:
    """Announce, verify, record, then swap until one attempt is judged against the very pointer that it replaces."""
    reach("publish.before_intent")
    current = read_current(store, target)
    release = release_of(target, candidate, build=build, now=now(), parent=current.release_id if current else None)
    announced = _announce(store, target, candidate, release, now=now())
    reach("publish.after_intent")
    prove_blobs(store, target, candidate.refs)  # after the intent: collection sees either the intent or our failure
    release = _record(store, target, release)
    reach("publish.after_record")
    try:
        return _swap(store, target, candidate, release, by=by, now=now, allow_older=allow_older)
    finally:
        store.delete(announced)


def _swap(
    store: ObjectStore,
    target: Target,
    candidate: Candidate,
    release: Release,
    *,
    by: Actor,
    now: Clock,
    allow_older: bool,
) -> Outcome:
    for attempt in range(MAX_ATTEMPTS):
        current = read_current(store, target)
        journal.recover(store, target, current, by=by, now=now())
        how, told = judge(store, target, release, current, now=now(), allow_older=allow_older)
        if how is not Shipped.SHIPPED:
            _tell(
                store, target, how.value, by=by, now=now(), live=current, told=told, day=candidate.day, release=release
            )
            return Outcome(how, release, current.release_id if current else None, told)
        prove_blobs(store, target, candidate.refs) if attempt else None
        pointer = make_pointer(store.root_uri, target, candidate.versions, after=current, now=now())
        reach("publish.before_swap")
        try:
            swapped = swap_pointer(store, target, pointer, expected=current)
        except ConflictError:
            time.sleep(secrets.randbelow(50) * 0.001 * (attempt + 1))  # apart from the other writer, then judge anew
            continue
        reach("publish.after_swap")
        _tell(
            store,
            target,
            how.value,
            by=by,
            now=now(),
            live=current,
            told=told,
            day=candidate.day,
            release=release,
            swapped=swapped,
        )
        reach("publish.after_journal")
        return Outcome(how, release, release.id, told)
    raise ConflictError(
        f"{target}: {MAX_ATTEMPTS} swaps in a row met another writer: see who else ships, then run again"
    )


def judge(
    store: ObjectStore,
    target: Target,
    release: Release,
    current: Current | None,
    *,
    now: datetime,
    allow_older: bool,
) -> tuple[Shipped, str]:
    """Say whether a release may replace what is live, and why: same content, hold and fence, in this order."""
    if current is not None and current.release_id == release.id:
        return Shipped.UNCHANGED, f"release {release.id[:12]} is live already"
    hold = standing_hold(store, target, release, now=now)
    if hold is not None:
        return Shipped.HELD, f"held by {hold.actor} since {hold.at}: {hold.reason}"
    if current is None or allow_older:
        return Shipped.SHIPPED, f"release {release.id[:12]} with data through {release.data_through}"
    live = _live_release(store, target, current)
    if release.data_through < live.data_through:
        return (
            Shipped.OLDER,
            f"data through {release.data_through} is older than live {live.data_through}: recorded, not shipped",
        )
    return Shipped.SHIPPED, f"release {release.id[:12]} with data through {release.data_through}"


def _live_release(store: ObjectStore, target: Target, current: Current) -> Release:
    key = release_key(target, current.release_id)
    try:
        return read_document(store, key, Release)
    except NotFoundError as error:
        raise RefusedError(
            f"{target}: the live release's record {key} is gone, so its age is unknown: restore it, "
            "or ship with --allow-older",
        ) from error


def _announce(store: ObjectStore, target: Target, candidate: Candidate, release: Release, *, now: datetime) -> str:
    intent = Intent(publish_id=secrets.token_hex(16), release=release.id, at=rfc3339(now), refs=candidate.refs)
    key = intent_key(target, intent.publish_id)
    store.create(key, encode(intent))
    return key


def _record(store: ObjectStore, target: Target, release: Release) -> Release:
    """Create the record, or return the one that stands: the same refs are the same release, first evidence kept."""
    key = release_key(target, release.id)
    try:
        store.create(key, encode(release))
    except ConflictError:
        return read_document(store, key, Release)
    return read_document(store, key, Release)


def _rehearse(
    store: ObjectStore,
    target: Target,
    candidate: Candidate,
    current: Current | None,
    *,
    build: Build,
    now: datetime,
    allow_older: bool,
) -> Outcome:
    release = release_of(target, candidate, build=build, now=now, parent=current.release_id if current else None)
    how, told = judge(store, target, release, current, now=now, allow_older=allow_older)
    return Outcome(how, release, current.release_id if current else None, f"dry run: {told}")


def _tell(  # noqa: PLR0913 - the facts of one journal entry
    store: ObjectStore,
    target: Target,
    outcome: str,
    *,
    by: Actor,
    now: datetime,
    live: Current | None,
    told: str,
    day: date,
    release: Release | None = None,
    swapped: Current | None = None,
) -> None:
    before = live.release_id if live else None
    entry = journal.entry_of(
        action="ship",
        outcome=outcome,
        by=by,
        now=now,
        before=before,
        after=swapped.release_id if swapped else before,
        pointer_at=swapped.pointer.updated_at if swapped else None,
        details={"day": day.isoformat(), "told": told[:2000], "release": release.id if release else None},
    )
    journal.append(store, target, entry)
