"""Analysis of a day's events for its gates: contract findings and profile.

It is computed ahead, while the day is encoded and written. It is used only if the stored bytes decode to exactly the
analysed events. Otherwise the stored events are analysed.
"""

from concurrent.futures import Future
from datetime import date
from typing import Final

import msgspec
from msgspec.structs import replace

from recsys_assets.events.contract import check_events
from recsys_assets.events.day_profile import DayProfile, profile_day
from recsys_assets.events.events import Events
from recsys_assets.evidence import Finding
from recsys_assets.release.documents import CanonicalRecord

# Limit of a day's events in bytes. Larger days are freed before the stored ones are decoded.
MAX_ANALYSIS_BYTES: Final = 128_000_000


class DayAnalysis(msgspec.Struct, frozen=True):
    """Events, the breaches of their contract, and their profile without the digest and count that the record adds."""

    events: Events
    contract: tuple[Finding, ...]
    profile: DayProfile

    def profile_of(self, record: CanonicalRecord) -> DayProfile:
        """Return the profile, completed by the record of the day that was written with these events."""
        return replace(self.profile, digest=record.digest, delivered=record.events)


def analyse_day(events: Events, day: date) -> DayAnalysis:
    """Check a day's events against their contract, and profile them."""
    profile = profile_day(events, day=day.isoformat(), digest="", delivered=0)
    return DayAnalysis(events, check_events(events, day=day), profile)


def analysis_of_stored(stored: Events, day: date, ahead: Future[DayAnalysis] | None) -> DayAnalysis:
    """Return the analysis of the stored events: the one made ahead if its events are equal, else a new one."""
    analysis = None if ahead is None else ahead.result()
    return analysis if analysis is not None and _are_equal(analysis.events, stored) else analyse_day(stored, day)


def _are_equal(events: Events, other: Events) -> bool:
    """Return whether two days have the same rows in the same order, with the same codes for the same ids."""
    return (
        events.codes.schema == other.codes.schema
        and events.codes.equals(other.codes)
        and events.ids.keys() == other.ids.keys()
        and all(ids.equals(other.ids[name]) for name, ids in events.ids.items())
    )
