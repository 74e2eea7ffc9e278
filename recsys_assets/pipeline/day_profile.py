"""Profiles of canonical days in the store: that of a day, and those of the ordinary days it is compared with."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from functools import partial

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.artifact_format import sharded_kind
from recsys_assets.decoders import decoder_of
from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.events.day_profile import PROFILE_FORMAT, DayProfile, LiveScore
from recsys_assets.events.events import Events
from recsys_assets.evidence import GateReport
from recsys_assets.gates.day_comparison import Past
from recsys_assets.identity import Target
from recsys_assets.kind_descriptions import Shape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.records import FACT, key_of_record
from recsys_assets.pipeline.stored_artifact import read_rows
from recsys_assets.quality.live_score import score_live as score_rows
from recsys_assets.quality.live_score import visits_of
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode, find_stored
from recsys_assets.release.documents import CANONICAL_FORMAT, CanonicalRecord, Member
from recsys_assets.release.layout import (
    blob_key,
    canonical_gates_key,
    canonical_prefix,
    canonical_profile_key,
    canonical_record_key,
)
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.release.staged import find_canonical_report
from recsys_assets.retry import Pause, retry_conflicts, wait
from recsys_assets.storage.run_cache import MAX_OBJECT_BYTES, prefetch
from recsys_assets.storage.store import ObjectStore, StoredObject

MAX_BYTES = 1_000_000
_TRIES = 10


def read_past(store: ObjectStore, target: Target, day: date, *, most: int, first: date = date.min) -> Past:
    """Return at most `most` ordinary days before `day`, newest first, and the number of refused days in a row before.

    Days before `first` do not count.
    """
    ordinary: list[DayProfile] = []
    refused = 0
    for profile in _earlier(store, target, day, first, most):
        if not profile.refused:
            ordinary.append(profile)
        elif not ordinary:
            refused += 1
        if len(ordinary) == most:
            break
    return Past(tuple(ordinary), refused)


def score_live(
    store: ObjectStore, target: Target, day: date, events: Events, record: CanonicalRecord
) -> Mapping[str, LiveScore] | None:
    """Score each item-ranking kind of the live release on a day's events, or None if no score is possible.

    A release of this day or a later one was built from the events, or after them, so it cannot be scored on them. In
    that case the stored score is returned, which the same bytes got when they were first judged. Kinds whose users are
    hashed by another key are excluded. The comparison of artifacts reports a live release that cannot be read.
    """
    with suppress(CorruptObjectError, NotFoundError):
        current = read_current(store, target)
        if current is not None:
            release = read_release(store, target, current.release_id)
            if date.fromisoformat(release.data_through) < day:
                members = {sharded_kind(member.ref.kind): member for member in release.members}
                key = key_of_record(record)
                return _scores(store, target, day, events, {k: m for k, m in members.items() if _can_score(k, m, key)})
    before = find_profile(store, target, day, record)
    return before.live if before is not None and before.digest == record.digest else None


def _can_score(kind: str, member: Member, user_key: str | None) -> bool:
    """Return whether a kind's rows rank items, and its users, if any, are hashed by this key."""
    if kind not in KINDS or KINDS[kind].from_catalog or not isinstance(shape := KINDS[kind].shape, Shape):
        return False
    return shape.key != "user_id" or member.facts.get(FACT) == user_key


def _scores(
    store: ObjectStore, target: Target, day: date, events: Events, members: Mapping[str, Member]
) -> dict[str, LiveScore]:
    scores: dict[str, LiveScore] = {}
    refs = [member.ref for member in members.values() if member.ref.size <= MAX_OBJECT_BYTES]
    keys = [blob_key(target, ref.kind, ref.version) for ref in refs]
    prefetch(store, keys, max_bytes=MAX_OBJECT_BYTES)
    visits = visits_of(events)
    for kind, member in sorted(members.items()):
        last = date.fromisoformat(member.window_last)
        window = (last - date.fromisoformat(member.window_first)).days + 1
        rows = read_rows(store, target, member.ref, KINDS[kind].row_shape)[1]
        score = score_rows(visits, rows, window_days=window, age_days=(day - last).days)
        if score is not None:
            scores[kind] = score
    return scores


def with_results(record: CanonicalRecord, report: GateReport, profile: DayProfile) -> CanonicalRecord:
    """Return the record with its gate report and its profile, which lists the gates that refused the day.

    Later days are compared only with days that no gate refused.
    """
    refused = tuple(finding.gate for finding in report.refusals)
    counts = msgspec.Raw(msgspec.json.encode(replace(profile, refused=refused)))
    return msgspec.structs.replace(record, gates=report, profile=counts, v=CANONICAL_FORMAT)


def keep_results(
    store: ObjectStore, target: Target, day: date, record: CanonicalRecord, judged: CanonicalRecord, *, over: str
) -> None:
    """Replace a record that was read with the etag `over` by one with new gate results.

    Raises `ConflictError` if the day was rewritten in the meantime: the results do not apply to the stored bytes.
    """
    if judged == record:
        return
    store.swap(canonical_record_key(target, day), encode(judged), expected=over)
    if record.v < CANONICAL_FORMAT:  # older records have them in objects of their own, which are no longer read
        store.delete(canonical_gates_key(target, day))
        store.delete(canonical_profile_key(target, day))


def accept_day(store: ObjectStore, target: Target, day: date, answered: GateReport, *, pause: Pause = wait) -> None:
    """Store that a day's refusals were overridden: later windows use it, and later days are compared with it.

    Nothing is written if the stored report is on other bytes or limits, or has the overrides already. Raises
    `ConflictError` if other writers kept rewriting the day.
    """
    accept, lost = partial(_accept_once, store, target, day, answered), (ConflictError,)
    retry_conflicts(accept, name=f"{target} {day}", tries=_TRIES, pause=pause, lost=lost)


def _accept_once(store: ObjectStore, target: Target, day: date, answered: GateReport) -> None:
    key = canonical_record_key(target, day)
    stored = find_stored(store, key)
    if stored is None:
        return
    record = decode(stored.data, CanonicalRecord, name=key)
    report = find_canonical_report(store, target, day, record)
    if report is None or (report.version, report.policy) != (answered.version, answered.policy):
        return
    profile = find_profile(store, target, day, record)
    if profile is None or profile.digest != answered.version:
        judged = msgspec.structs.replace(record, gates=answered, v=CANONICAL_FORMAT)
    else:
        judged = with_results(record, answered, profile)
    keep_results(store, target, day, record, judged, over=stored.etag)


def find_profile(store: ObjectStore, target: Target, day: date, record: CanonicalRecord) -> DayProfile | None:
    """Return the stored profile of a day, or None if it is missing or unreadable: it is made when the day is judged."""
    try:
        if record.v < CANONICAL_FORMAT:
            data = store.get(canonical_profile_key(target, day), max_bytes=MAX_BYTES).data
        elif record.profile is UNSET:
            return None
        else:
            data = bytes(record.profile)
        profile = decoder_of(DayProfile).decode(data)
    except (NotFoundError, msgspec.MsgspecError):
        return None
    return profile if profile.v <= PROFILE_FORMAT else None  # the numbers of a newer format have unknown meaning


def _earlier(store: ObjectStore, target: Target, day: date, first: date, most: int) -> Iterator[DayProfile]:
    """Yield the profiles of the days before `day`, newest first. Damaged ones are skipped."""
    for earlier, stored in _records_before(store, target, day, first, most):
        with suppress(CorruptObjectError):
            record = decode(stored.data, CanonicalRecord, name=canonical_record_key(target, earlier))
            profile = find_profile(store, target, earlier, record)
            if profile is not None:
                yield profile


def _records_before(
    store: ObjectStore, target: Target, day: date, first: date, most: int
) -> Iterator[tuple[date, StoredObject]]:
    """Yield the days before `day` that have a record, with the record's bytes, newest first.

    Days are read one by one as long as they are consecutive, because windows read them anyway. Before the first gap,
    the remaining days are found by listing.
    """
    before = day
    while before > first:
        before -= timedelta(days=1)
        stored = find_stored(store, canonical_record_key(target, before))
        if stored is None:
            break
        if before == day - timedelta(days=1):
            prefetch(store, _keys_before(target, before, first, most - 1), max_bytes=MAX_DOCUMENT_BYTES)
        yield before, stored
    else:
        return
    prefix = canonical_prefix(target)
    names = {item.key.removeprefix(prefix) for item in store.list(prefix)}
    listed = (
        recorded_day
        for name in names
        if (recorded_day := _day_of_record(name)) is not None and first <= recorded_day < before
    )
    for earlier in sorted(listed, reverse=True):
        stored = find_stored(store, canonical_record_key(target, earlier))
        if stored is not None:
            yield earlier, stored


def _keys_before(target: Target, day: date, first: date, most: int) -> list[str]:
    """Return the record keys of at most `most` days before `day`, none of them before `first`."""
    count = min(most, (day - first).days)
    return [canonical_record_key(target, day - timedelta(days=n + 1)) for n in range(count)]


def _day_of_record(name: str) -> date | None:
    """Return the day of a canonical record from its name below the prefix, or None for any other object."""
    try:
        day = date.fromisoformat(name.removesuffix(".json"))
    except ValueError:
        return None
    return day if name == f"{day}.json" else None
