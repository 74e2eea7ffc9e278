"""Profiles of canonical days in the store: each day's own, and the ordinary days that it is compared with."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.events.day_profile import PROFILE_FORMAT, DayProfile, LiveScore, profile_day, with_past
from recsys_assets.events.events import Events
from recsys_assets.evidence import GateReport
from recsys_assets.gates.day_comparison import Past
from recsys_assets.identity import Target
from recsys_assets.kind_descriptions import Shape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.records import FACT, key_of_record
from recsys_assets.pipeline.stored_artifact import read_rows
from recsys_assets.quality.live_score import score_live as score_rows
from recsys_assets.release.document_encoding import encode, find_document
from recsys_assets.release.documents import CanonicalRecord, Member
from recsys_assets.release.layout import PROFILE_ENDING, canonical_gates_key, canonical_prefix, canonical_profile_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.sharding import sharded_kind
from recsys_assets.storage.store import ObjectStore

MAX_BYTES = 1_000_000


def read_past(
    store: ObjectStore, target: Target, day: date, *, most: int, stored: Collection[str] | None = None
) -> Past:
    """Return at most `most` ordinary days before `day`, newest first, and how many in a row before it were refused.

    `stored` are the keys below the target's canonical prefix; None: they are listed.
    """
    if stored is None:
        stored = [item.key for item in store.list(canonical_prefix(target))]
    found: list[DayProfile] = []
    refused = 0
    for profile in _earlier(store, target, day, stored):
        if not profile.refused:
            found.append(profile)
        elif not found:
            refused += 1
        if len(found) == most:
            break
    return Past(tuple(found), refused)


def describe_day(
    events: Events,
    day: date,
    record: CanonicalRecord,
    past: Past,
    *,
    live: Mapping[str, LiveScore] | None = None,
) -> DayProfile:
    """Return the profile of a canonical day, compared with the ordinary days before it, and with what live scored."""
    profile = profile_day(events, day=day.isoformat(), digest=record.digest, delivered=record.events)
    return replace(with_past(profile, past.days), live=live)


def score_live(
    store: ObjectStore, target: Target, day: date, events: Events, record: CanonicalRecord, *, kept: bool
) -> Mapping[str, LiveScore] | None:
    """Return what each kind of the live release that ranks items is worth on a day's events; None if nothing can say.

    A release of this day or a later one has seen it, or says nothing of what was known before it: then the score stands
    that the same bytes had when they were judged first, if a profile is `kept`. Kinds of users that are hashed by
    another key are left out. A live release that cannot be read is named where artifacts are compared with it.
    """
    with suppress(CorruptObjectError, NotFoundError):
        current = read_current(store, target)
        if current is not None:
            release = read_release(store, target, current.release_id)
            if date.fromisoformat(release.data_through) < day:
                members = {sharded_kind(member.ref.kind): member for member in release.members}
                key = key_of_record(record)
                return _scores(store, target, day, events, {k: m for k, m in members.items() if _may_ask(k, m, key)})
    before = _find_profile(store, canonical_profile_key(target, day)) if kept else None
    return before.live if before is not None and before.digest == record.digest else None


def _may_ask(kind: str, member: Member, user_key: str | None) -> bool:
    """Return whether a kind's rows rank items for what a day under this key of users asks."""
    if kind not in KINDS or KINDS[kind].from_catalog or not isinstance(shape := KINDS[kind].shape, Shape):
        return False
    return shape.key != "user_id" or member.facts.get(FACT) == user_key


def _scores(
    store: ObjectStore, target: Target, day: date, events: Events, members: Mapping[str, Member]
) -> dict[str, LiveScore]:
    found: dict[str, LiveScore] = {}
    for kind, member in sorted(members.items()):
        last = date.fromisoformat(member.window_last)
        window = (last - date.fromisoformat(member.window_first)).days + 1
        rows = read_rows(store, target, member.ref, KINDS[kind].row_shape)[1]
        score = score_rows(events, rows, window_days=window, age_days=(day - last).days)
        if score is not None:
            found[kind] = score
    return found


def keep_profile(store: ObjectStore, target: Target, profile: DayProfile, report: GateReport) -> None:
    """Write a day's profile with the gates that refused it: without any, later days are compared with it."""
    refused = tuple(finding.gate for finding in report.refusals)
    key = canonical_profile_key(target, date.fromisoformat(profile.day))
    store.put(key, msgspec.json.encode(replace(profile, refused=refused)))


def accept_day(store: ObjectStore, target: Target, day: date, answered: GateReport) -> None:
    """Keep that somebody answered for a day's refusals: later windows use it, and later days are compared with it.

    Nothing is written if the stored report is of other bytes or limits, or says so already.
    """
    key = canonical_gates_key(target, day)
    stored = find_document(store, key, GateReport)
    if stored is None or (stored.version, stored.policy) != (answered.version, answered.policy):
        return
    if stored != answered:
        store.put(key, encode(answered))
    profile = _find_profile(store, canonical_profile_key(target, day))
    if profile is not None and profile.digest == answered.version and profile.refused:
        keep_profile(store, target, profile, answered)


def _earlier(store: ObjectStore, target: Target, day: date, stored: Collection[str]) -> Iterator[DayProfile]:
    """Yield the profiles of the days before `day`, newest first; one that is damaged is passed over."""
    prefix = canonical_prefix(target)
    earlier = (key for key in stored if key.endswith(PROFILE_ENDING) and key < f"{prefix}{day}")
    for key in sorted(earlier, reverse=True):
        profile = _find_profile(store, key)
        if profile is not None:
            yield profile


def _find_profile(store: ObjectStore, key: str) -> DayProfile | None:
    try:
        found = decoder_of(DayProfile).decode(store.get(key, max_bytes=MAX_BYTES).data)
    except (NotFoundError, msgspec.MsgspecError):
        return None  # made again when its day is judged again
    return found if found.v <= PROFILE_FORMAT else None  # of a newer version: what its numbers mean is not known
