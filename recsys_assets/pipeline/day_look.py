"""Look at a day's events for its gates: contract and profile, worked out while the day is being encoded and written.

It counts only if the stored bytes decode to the very events that were looked at; else they are looked at themselves.
"""

from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from recsys_assets.events.contract import check_events
from recsys_assets.events.day_profile import DayProfile, profile_day
from recsys_assets.events.events import Events
from recsys_assets.evidence import Finding
from recsys_assets.release.documents import CanonicalRecord

MAX_LOOK_BYTES: Final = 128_000_000  # of a day's events: those of a larger one make room for the decoded ones


@dataclass(frozen=True, slots=True)
class DayLook:
    """Events, what breaks their contract, and their profile without what the record knows."""

    events: Events
    contract: tuple[Finding, ...]
    profile: DayProfile

    def profile_of(self, record: CanonicalRecord) -> DayProfile:
        """Return the profile of the day that was written with these events."""
        return replace(self.profile, digest=record.digest, delivered=record.events)


def look_at(events: Events, day: date) -> DayLook:
    """Judge the contract of a day's events, and profile them."""
    profile = profile_day(events, day=day.isoformat(), digest="", delivered=0)
    return DayLook(events, check_events(events, day=day), profile)


def look_of(stored: Events, day: date, ahead: Future[DayLook] | None) -> DayLook:
    """Return the look at what is stored: the one that was begun ahead if it was at equal events, else one at these."""
    found = None if ahead is None else ahead.result()
    return found if found is not None and _are_equal(found.events, stored) else look_at(stored, day)


def _are_equal(one: Events, other: Events) -> bool:
    """Return whether two days hold the same rows in the same order, by codes of the same ids."""
    return (
        one.codes.schema == other.codes.schema
        and one.codes.equals(other.codes)
        and one.ids.keys() == other.ids.keys()
        and all(ids.equals(other.ids[name]) for name, ids in one.ids.items())
    )
