"""Gates of a day's items against earlier days: new items, agreement of their counts, and replays of an earlier day."""

from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Final

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.gates.day_comparison import (
    HasProfile,
    MeasureCheck,
    Number,
    Past,
    PastMeasure,
    check_share,
    compare_with_past,
    most_share,
    worst_of,
)
from recsys_assets.gates.gate import Result

_SURE: Final = 3  # standard errors
_STALE: Final = 0.7  # factor per refused day before: fewer items are known, and counts agree less
_FEWEST_SHARED: Final = 10  # shared items needed to compare counts


@dataclass(frozen=True, slots=True)
class NewItems:
    """The maximum rise of the share of events on items that no ordinary day had."""

    max_new_item_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of events on unknown items, which shows renamed ids or another shop's events.

        All items of a target's first day are new, so the oldest day is not used. With every refused day before it, a
        day has more items that are new since the last ordinary day.
        """

        def judge(day: DayProfile, past: Past) -> Result:
            earlier = PastMeasure.of(Past(past.days[:-1]), lambda profile: profile.new_item_share)
            draws = min(day.sessions, day.distinct_items)
            rise, limit = self.max_new_item_share, 1.0
            if earlier.values:
                limit = most_share(earlier, day.sessions, rise, independent=draws)
            limit = max(limit, min(1 - (1 - limit) * _STALE**past.refused_in_a_row, 0.985))
            name = "share of events on items that no ordinary day had (ids renamed, or another shop's events?)"
            return worst_of([MeasureCheck(name, day.new_item_share or 0.0, most=limit)], "items", past)

        return compare_with_past(facts, self.warm_up_days, judge)


@dataclass(frozen=True, slots=True)
class ItemMix:
    """The minimum agreement of item counts with earlier days, and the maximum rise of the share of surges."""

    min_correlation_ratio: float
    max_surge_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the rank correlation of item counts, and the share of events above five times the usual count."""

        def judge(day: DayProfile, past: Past) -> Result:
            surges = "events beyond five times what their items usually have (robots?)"
            measures: dict[str, Number] = {
                "earlier days": lambda profile: profile.item_correlation,
                "the last days": lambda profile: profile.recent_correlation,
            }
            checks = [
                check_share(surges, lambda profile: profile.surge_share, day, past, self.max_surge_rise),
                *(self._correlation(*measure, day, facts.past) for measure in measures.items()),
            ]
            return worst_of([check for check in checks if check], "items", past)

        return compare_with_past(facts, self.warm_up_days, judge)

    def _correlation(self, name: str, correlation: Number, day: DayProfile, past: Past) -> MeasureCheck | None:
        days = [earlier for earlier in past.days if earlier.shared_items >= _FEWEST_SHARED]
        values = [value for earlier in days if (value := correlation(earlier)) is not None]
        own = correlation(day)
        if own is None or len(values) < max(self.warm_up_days, 2):
            return None
        centre, error = median(values), 1 / sqrt(max(day.shared_items - 2, 1))
        spread = max(
            (centre - value) * min(sqrt(earlier.shared_items / day.shared_items), 2.0)
            for earlier in days
            if (value := correlation(earlier)) is not None
        )
        least = min(self.min_correlation_ratio * centre, centre - _SURE * error, centre - 1.2 * spread)
        if least < 0:  # ordinary days may be uncorrelated: only a negative correlation is a fault
            least = min(least, -1.1 * _SURE * error)
        stale = 0.8**past.refused_in_a_row if least > 0 else 1.0
        return MeasureCheck(
            f"rank correlation of the items' counts with {name} (ids shuffled?)", own, least=least * stale
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """The maximum share of a day's events that an earlier day already had."""

    max_replayed_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of the day's sketches that the most similar earlier day contains.

        Equal events at the same time of the day show a replay from the second day on. Equal pairs of user and item,
        whose timestamps may have been changed, show one after the warm-up, when the usual rate of returns is known.
        """

        def judge(day: DayProfile, past: Past) -> Result:
            checks = [self._check("at the same time of the day", day.replayed_share, day.replayed_day, past, _replayed)]
            if len(past.days) >= self.warm_up_days:
                checks.append(self._check("by user and item", day.revisited_share, day.revisited_day, past, _revisited))
            return worst_of(checks, "replay", past)

        return compare_with_past(facts, 1, judge, any_size=True)

    def _check(self, match: str, share: float | None, source: str | None, past: Past, measure: Number) -> MeasureCheck:
        most = max((value for day in past.days if (value := measure(day)) is not None), default=0.0)
        limit = min(max(self.max_replayed_share, most + 0.5 * (1 - most)), max(0.97, most))
        return MeasureCheck(f"share of events that {source} had {match}", share or 0.0, most=limit)


def _replayed(day: DayProfile) -> float | None:
    return day.replayed_share


def _revisited(day: DayProfile) -> float | None:
    return day.revisited_share
