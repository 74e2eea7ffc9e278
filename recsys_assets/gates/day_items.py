"""Gates of a day's items against its past: new ones, how their counts agree, and an earlier day delivered again."""

from dataclasses import dataclass
from math import sqrt
from statistics import median
from typing import Final

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.gates.day_comparison import (
    Checked,
    HasProfile,
    Known,
    Number,
    Past,
    check_share,
    compare_with_past,
    most_share,
    worst_of,
)
from recsys_assets.gates.gate import Result

_SURE: Final = 3  # standard errors
_STALE: Final = 0.7  # by each refused day before, less of the day's items is known, and counts agree less
_FEWEST_SHARED: Final = 10  # items that counts are compared on


@dataclass(frozen=True, slots=True)
class NewItems:
    """The largest share of events on items that no ordinary day had, beside the most of the past."""

    max_new_item_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of events on unknown items: other ids, or the events of somebody else.

        The first day of a target knows no items, so the second one's share is no measure. With every refused day
        before it, a day has more that is new to the last ordinary one.
        """

        def judge(day: DayProfile, past: Past) -> Result:
            known = Known.of(Past(past.days[:-1]), lambda one: one.new_item_share)
            draws = min(day.sessions, day.distinct_items)
            limit = most_share(known, day.sessions, self.max_new_item_share, independent=draws) if known.values else 1.0
            limit = max(limit, min(1 - (1 - limit) * _STALE**past.refused_in_a_row, 0.985))
            name = "share of events on items that no ordinary day had (ids renamed, or another shop's events?)"
            return worst_of([Checked(name, day.new_item_share or 0.0, most=limit)], "items", past)

        return compare_with_past(facts, self.warm_up_days, judge)


@dataclass(frozen=True, slots=True)
class ItemMix:
    """How much less the items' counts may agree with the past than usual, and how much may surge on few items."""

    min_correlation_ratio: float
    max_surge_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the rank correlation of the items' counts, and the share of events beyond five times the usual."""

        def judge(day: DayProfile, past: Past) -> Result:
            surges = "events beyond five times what their items usually have (robots?)"
            measures: dict[str, Number] = {
                "earlier days": lambda one: one.item_correlation,
                "the last days": lambda one: one.recent_correlation,
            }
            checked = [
                check_share(surges, lambda one: one.surge_share, day, past, self.max_surge_rise),
                *(self._correlation(*one, day, facts.past) for one in measures.items()),
            ]
            return worst_of([one for one in checked if one], "items", past)

        return compare_with_past(facts, self.warm_up_days, judge)

    def _correlation(self, name: str, correlation: Number, day: DayProfile, past: Past) -> Checked | None:
        days = [one for one in past.days if one.shared_items >= _FEWEST_SHARED]
        known = [found for one in days if (found := correlation(one)) is not None]
        own = correlation(day)
        if own is None or len(known) < max(self.warm_up_days, 2):
            return None
        centre, error = median(known), 1 / sqrt(max(day.shared_items - 2, 1))
        spread = max(
            (centre - found) * min(sqrt(one.shared_items / day.shared_items), 2.0)
            for one in days
            if (found := correlation(one)) is not None
        )
        least = min(self.min_correlation_ratio * centre, centre - _SURE * error, centre - 1.2 * spread)
        if least < 0:  # ordinary days may be uncorrelated: only the contrary is a fault
            least = min(least, -1.1 * _SURE * error)
        stale = 0.8**past.refused_in_a_row if least > 0 else 1.0
        return Checked(f"rank correlation of the items' counts with {name} (ids shuffled?)", own, least=least * stale)


@dataclass(frozen=True, slots=True)
class Replay:
    """The largest share of a day's events that an earlier day may have had already."""

    max_replayed_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of the day's sketches that the most similar earlier day holds.

        Events at the same time of the day show a replay from the second day on; those of the same users on the same
        items, whose times may have been changed, once it is known how often users come back to items.
        """

        def judge(day: DayProfile, past: Past) -> Result:
            checked = [
                self._check("at the same time of the day", day.replayed_share, day.replayed_day, past, _replayed)
            ]
            if len(past.days) >= self.warm_up_days:
                checked.append(
                    self._check("by user and item", day.revisited_share, day.revisited_day, past, _revisited)
                )
            return worst_of(checked, "replay", past)

        return compare_with_past(facts, 1, judge, any_size=True)

    def _check(self, how: str, share: float | None, of: str | None, past: Past, known: Number) -> Checked:
        most = max((found for one in past.days if (found := known(one)) is not None), default=0.0)
        limit = min(max(self.max_replayed_share, most + 0.5 * (1 - most)), max(0.97, most))
        return Checked(f"share of events that {of} had {how}", share or 0.0, most=limit)


def _replayed(day: DayProfile) -> float | None:
    return day.replayed_share


def _revisited(day: DayProfile) -> float | None:
    return day.revisited_share
