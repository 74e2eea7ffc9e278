"""Gates of a canonical day: contract, counts against limits, and comparison with the target's earlier days."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.events.events import Events
from recsys_assets.evidence import Finding
from recsys_assets.gates.day_activity import HourPattern, MinVolume
from recsys_assets.gates.day_comparison import (
    NO_PAST,
    HasProfile,
    MeasureCheck,
    Number,
    Past,
    PastMeasure,
    check_distance,
    check_share,
    compare_with_past,
    independent_draws,
    ratio_band,
    worst_of,
)
from recsys_assets.gates.day_items import ItemMix, NewItems, Replay
from recsys_assets.gates.day_live import LiveOnDay, NewUsers
from recsys_assets.gates.gate import Gate, Result, at_least, at_most, merged
from recsys_assets.settings.gates import CountGate, DayGate, DaySettings, GateSettings, Mode


def day_gates(limits: DaySettings) -> list[Gate[HasProfile]]:
    """Return the gates that compare a day with earlier days, in the order of the report."""
    warm_up = limits.warm_up_days
    rules: dict[DayGate, Callable[[HasProfile], Result]] = {
        DayGate.VOLUME: MinVolume(limits.min_volume, warm_up),
        DayGate.HOURS: HourPattern(limits.max_silent_share, limits.max_hours_distance, warm_up),
        DayGate.DUPLICATES: Duplicates(limits.max_duplicate_rise, warm_up),
        DayGate.CONCENTRATION: Concentration(limits.max_share_rise, warm_up),
        DayGate.SHAPE: DayShape(limits.max_shape_factor, limits.max_sizes_distance, warm_up),
        DayGate.NEW_ITEMS: NewItems(limits.max_new_item_share, warm_up),
        DayGate.NEW_USERS: NewUsers(limits.max_new_user_share, warm_up),
        DayGate.ITEM_MIX: ItemMix(limits.min_correlation_ratio, limits.max_surge_rise, warm_up),
        DayGate.REPLAY: Replay(limits.max_replayed_share, warm_up),
        DayGate.LIVE: LiveOnDay(limits.min_live_ratio, limits.max_live_ratio, warm_up),
    }
    return [Gate(gate.value, rule, limits.mode, Mode.ADVISORY) for gate, rule in rules.items()]


def _weight(past: Past, sizes: Callable[[DayProfile], Sequence[int] | None]) -> float:
    """Return the independent draws that one session counts as (0 to 1): the lowest ratio among the ordinary days."""
    draws = [min(independent_draws(counts) / day.sessions, 1.0) for day in past.days if (counts := sizes(day))]
    return min(draws, default=1.0)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The maximum rise of the shares of exact and near duplicates over earlier days."""

    max_duplicate_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the shares of exact duplicates and of events that differ only in request, rank or kind."""

        def judge(day: DayProfile, past: Past) -> Result:
            measures: Mapping[str, Number] = {
                "exact duplicates": lambda profile: 1 - profile.events / max(profile.delivered, 1),
                "near duplicates (another request, rank or event kind)": lambda profile: (
                    profile.near_duplicates / profile.events
                ),
            }
            rise = self.max_duplicate_rise
            return worst_of(
                [check_share(*profile, day, past, rise) for profile in measures.items()], "duplicates", past
            )

        return compare_with_past(facts, self.warm_up_days, judge)


@dataclass(frozen=True, slots=True)
class Concentration:
    """The maximum rise of the shares of the top item, user and session, and of events without a user."""

    max_share_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the shares of the most frequent item, user and session with earlier days."""

        def judge(day: DayProfile, past: Past) -> Result:
            by_session, by_user = (_weight(past, sizes) for sizes in (_session_sizes, _user_sizes))
            measures: Sequence[tuple[str, Number, float]] = (
                ("events on one item", lambda profile: profile.top_item / profile.events, 1.0),
                ("events of one user", lambda profile: profile.top_user / profile.events, by_user),
                ("events of one session", lambda profile: profile.top_session / profile.events, by_session),
                ("events without a user", lambda profile: profile.anonymous / profile.events, 1.0),
            )
            checks = [
                check_share(name, share, day, past, self.max_share_rise, weight=weight)
                for name, share, weight in measures
            ]
            return worst_of(checks, "shares", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _session_sizes(day: DayProfile) -> Sequence[int] | None:
    return day.session_sizes


def _user_sizes(day: DayProfile) -> Sequence[int] | None:
    return day.user_sizes


@dataclass(frozen=True, slots=True)
class DayShape:
    """The maximum factor for events per session and sessions per user, and the maximum distance of sizes."""

    max_shape_factor: float
    max_sizes_distance: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare ratios, repeats within sessions, and the sizes of sessions and of users with earlier days."""

        def judge(day: DayProfile, past: Past) -> Result:
            draws = {sizes: day.sessions * _weight(past, sizes) for sizes in (_session_sizes, _user_sizes)}
            ratios: Sequence[tuple[str, Callable[[DayProfile], float], float]] = (
                ("events per session", lambda profile: profile.events / profile.sessions, draws[_session_sizes]),
                ("sessions per user", lambda profile: profile.sessions / max(profile.users, 1), draws[_user_sizes]),
            )
            checks: list[MeasureCheck | None] = []
            for name, ratio, independent in ratios:
                earlier = PastMeasure.of(past, ratio)
                least, most = ratio_band(earlier, day.sessions, self.max_shape_factor, independent=independent)
                checks.append(MeasureCheck(name, ratio(day), least=least, most=most))
            weight = draws[_session_sizes] / day.sessions
            checks += [
                check_share("events that repeat an item of their session", _repeats, day, past, 0.2, weight=weight),
                check_share("events on items new to their session", _first_visits, day, past, 0.6, weight=weight),
                *(
                    check_distance(
                        f"share of events in {subject} of other sizes than usual",
                        day,
                        past,
                        sizes,
                        least_limit=self.max_sizes_distance,
                        independent=draws[sizes],
                    )
                    for subject, sizes in (("sessions", _session_sizes), ("histories of users", _user_sizes))
                ),
            ]
            return worst_of([check for check in checks if check], "shape", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _repeats(day: DayProfile) -> float | None:
    return None if day.repeats is None else day.repeats / day.events


def _first_visits(day: DayProfile) -> float | None:
    return None if day.repeats is None else 1 - day.repeats / day.events


class CanonicalFacts(msgspec.Struct, frozen=True):
    """Input of a canonical day's gates: counts from its record, and the findings of its contract."""

    digest: str
    rows: int
    events: int  # good events before duplicates were dropped
    bad: int
    duplicates: int
    rejects: Mapping[str, int]
    contract: tuple[Finding, ...]
    profile: DayProfile | None = None
    past: Past = NO_PAST
    content: Events | None = None  # the events, for gates that check each of them

    def frame(self) -> pl.DataFrame:
        """Return the decoded events, with ids as strings, empty if `content` is None."""
        return pl.DataFrame() if self.content is None else self.content.decoded()


def canonical_gates(
    limits: GateSettings, *, max_bad_share: float, max_out_of_window_share: float
) -> list[Gate[CanonicalFacts]]:
    """Return every gate of a canonical day, in the order of its report."""
    return [
        Gate("contract", DayContract()),
        Gate(CountGate.VOLUME.value, FewestEvents(limits.min_events)),
        Gate(CountGate.BAD_SHARE.value, BadShare(max_bad_share)),
        Gate(CountGate.OUT_OF_WINDOW_SHARE.value, OutOfWindowShare(max_out_of_window_share)),
        Gate(CountGate.DUPLICATE_SHARE.value, DuplicateShare(limits.max_duplicate_share)),
        *day_gates(limits.day),
    ]


@dataclass(frozen=True, slots=True)
class DayContract:
    """Types, order and ranges of the stored events."""

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Return one result for all rules of the contract."""
        return merged(facts.contract, what="the canonical day")


@dataclass(frozen=True, slots=True)
class FewestEvents:
    """The minimum number of distinct events."""

    min_events: int

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the number of distinct events with the minimum."""
        return at_least(facts.rows, self.min_events, setting="gates.min_events", what="number of distinct events")


@dataclass(frozen=True, slots=True)
class BadShare:
    """The maximum share of lines in quarantine."""

    max_bad_share: float

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the share of bad lines with the limit. The message has the reasons with their counts."""
        share = facts.bad / (facts.bad + facts.events) if facts.bad else 0.0
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(facts.rejects.items()) if count)
        subject = f"share of bad lines ({reasons})" if reasons else "share of bad lines"
        return at_most(share, self.max_bad_share, setting="raw.max_bad_share", what=subject)


@dataclass(frozen=True, slots=True)
class OutOfWindowShare:
    """The maximum share of events that belong to other days."""

    max_out_of_window_share: float

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the share of events of other days. The message names the setting for files split by local days."""
        late = facts.rejects.get("out_of_window", 0)
        share = late / (late + facts.events) if late else 0.0
        advice = f" ({late:,} of other days: files split by local days need raw.spill_days = 1)" if late else ""
        setting = "raw.max_out_of_window_share"
        return at_most(share, self.max_out_of_window_share, setting=setting, what=f"share of out_of_window{advice}")


@dataclass(frozen=True, slots=True)
class DuplicateShare:
    """The maximum share of exact duplicates among the delivered events."""

    max_duplicate_share: float

    def __call__(self, facts: CanonicalFacts) -> Result:
        """Compare the share of events that were dropped as exact duplicates."""
        share = facts.duplicates / facts.events if facts.events else 0.0
        setting = "gates.max_duplicate_share"
        return at_most(share, self.max_duplicate_share, setting=setting, what="share of exact duplicates")
