"""Gates of a canonical day: its contract, its counts against limits, and the day against the target's past."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.events.events import Events
from recsys_assets.evidence import Finding
from recsys_assets.gates.day import day_gates
from recsys_assets.gates.day_comparison import NO_PAST, Past
from recsys_assets.gates.gate import Gate, Result, at_least, at_most, merged
from recsys_assets.settings.gates import CountGate, GateSettings


@dataclass(frozen=True, slots=True)
class CanonicalFacts:
    """What a canonical day is judged by: counts from its record, and the findings of its contract."""

    digest: str
    rows: int
    events: int  # good events before duplicates were dropped
    bad: int
    duplicates: int
    rejects: Mapping[str, int]
    contract: tuple[Finding, ...]
    profile: DayProfile | None = None
    past: Past = NO_PAST
    content: Events | None = None  # the events themselves, for gates that look at each

    def frame(self) -> pl.DataFrame:
        """Return the events as people see them: ids as strings."""
        return pl.DataFrame() if self.content is None else self.content.decoded()


def canonical_gates(
    limits: GateSettings, *, max_bad_share: float, max_out_of_window_share: float
) -> list[Gate[CanonicalFacts]]:
    """Return every gate of a canonical day, in the order of its report."""
    return [
        Gate("contract", Contract()),
        Gate(CountGate.VOLUME.value, Volume(limits.min_events)),
        Gate(CountGate.BAD_SHARE.value, BadShare(max_bad_share)),
        Gate(CountGate.OUT_OF_WINDOW_SHARE.value, OutOfWindowShare(max_out_of_window_share)),
        Gate(CountGate.DUPLICATE_SHARE.value, DuplicateShare(limits.max_duplicate_share)),
        *day_gates(limits.day),
    ]


@dataclass(frozen=True, slots=True)
class Contract:
    """Types, order and ranges of the stored events."""

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Return one result for all rules of the contract."""
        return merged(facts.contract, what="the canonical day")


@dataclass(frozen=True, slots=True)
class Volume:
    """The fewest distinct events."""

    min_events: int

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the number of distinct events with the fewest allowed."""
        return at_least(facts.rows, self.min_events, setting="gates.min_events", what="number of distinct events")


@dataclass(frozen=True, slots=True)
class BadShare:
    """The largest share of lines in quarantine."""

    max_bad_share: float

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the share of bad lines, and name the reasons with their counts."""
        share = facts.bad / (facts.bad + facts.events) if facts.bad else 0.0
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(facts.rejects.items()) if count)
        what = f"share of bad lines ({reasons})" if reasons else "share of bad lines"
        return at_most(share, self.max_bad_share, setting="raw.max_bad_share", what=what)


@dataclass(frozen=True, slots=True)
class OutOfWindowShare:
    """The largest share of events that belong to other days."""

    max_out_of_window_share: float

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the share of events of other days, and name the setting for files cut by a local day."""
        late = facts.rejects.get("out_of_window", 0)
        share = late / (late + facts.events) if late else 0.0
        advice = f" ({late:,} of other days: files cut by a local day need raw.spill_days = 1)" if late else ""
        setting = "raw.max_out_of_window_share"
        return at_most(share, self.max_out_of_window_share, setting=setting, what=f"share of out_of_window{advice}")


@dataclass(frozen=True, slots=True)
class DuplicateShare:
    """The largest share of exact duplicates among the events delivered."""

    max_duplicate_share: float

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the share of events that were dropped as exact duplicates."""
        share = facts.duplicates / facts.events if facts.events else 0.0
        setting = "gates.max_duplicate_share"
        return at_most(share, self.max_duplicate_share, setting=setting, what="share of exact duplicates")
