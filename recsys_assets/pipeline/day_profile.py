"""Profiles of canonical days in the store: each day's own, and the ordinary days that it is compared with."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import date

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import NotFoundError
from recsys_assets.events.day_profile import DayProfile, profile_day, with_past
from recsys_assets.events.events import Events
from recsys_assets.evidence import GateReport
from recsys_assets.gates.day_comparison import Past
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import encode, find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import PROFILE_ENDING, canonical_gates_key, canonical_prefix, canonical_profile_key
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


def describe_day(events: Events, day: date, record: CanonicalRecord, past: Past) -> DayProfile:
    """Return the profile of a canonical day, compared with the ordinary days before it."""
    profile = profile_day(events, day=day.isoformat(), digest=record.digest, delivered=record.events)
    return with_past(profile, past.days)


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
        return decoder_of(DayProfile).decode(store.get(key, max_bytes=MAX_BYTES).data)
    except (NotFoundError, msgspec.MsgspecError):
        return None  # made again when its day is judged again
