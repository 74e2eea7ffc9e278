"""Gates of a day against the target's own past: volume, hours, shape, items, replays; limits from ordinary days."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import exp, log, sqrt
from statistics import median
from typing import Final

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day_comparison import (
    Checked,
    HasProfile,
    Past,
    compare_with_past,
    rise_above,
    worst_of,
)
from recsys_assets.gates.gate import Gate, Result
from recsys_assets.settings.gates import DayGate, DaySettings, Mode

_SAME_WEEKDAY: Final = 3  # earlier days of the weekday, from which on they are the reference
_FEWEST_EXPECTED: Final = 20  # sessions or events: half of fewer says nothing
_STEADY: Final = 0.4  # a lower limit, which noise asks for, cannot separate lost events from a quiet day
_NOISE: Final = 4  # deviations that an ordinary day may lack, of a target whose volume varies
_SURE: Final = 3  # standard errors
_MAD: Final = 1.4826  # times the median absolute deviation estimates the standard deviation


def day_gates(limits: DaySettings) -> list[Gate[HasProfile]]:
    """Return every gate of a day against its past, in the order of the report."""
    warm_up = limits.warm_up_days
    rules: dict[DayGate, Callable[[HasProfile], Result]] = {
        DayGate.VOLUME: Volume(limits.min_volume, warm_up),
        DayGate.HOURS: Hours(limits.max_silent_share, limits.max_hours_distance, warm_up),
        DayGate.DUPLICATES: Duplicates(limits.max_duplicate_rise, warm_up),
        DayGate.CONCENTRATION: Concentration(limits.max_share_rise, warm_up),
        DayGate.SHAPE: Shape(limits.max_shape_factor, warm_up),
        DayGate.NEW_ITEMS: NewItems(limits.max_new_item_share, warm_up),
        DayGate.ITEM_MIX: ItemMix(limits.min_correlation_ratio, limits.max_surge_rise, warm_up),
        DayGate.REPLAY: Replay(limits.max_replayed_share),
    }
    return [Gate(gate.value, rule, limits.mode, Mode.ADVISORY) for gate, rule in rules.items()]


@dataclass(frozen=True, slots=True)
class Volume:
    """The least number of events and of sessions, as a share of the weekday's median; less where volume varies more.

    Where ordinary days vary so much that half of one is ordinary, a low number is reported and refuses nothing.
    """

    min_volume: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the day's events and sessions with what is usual."""

        def judge(day: DayProfile, past: Past) -> Result:
            parts = {
                "events": _volume([one.events for one in past.days], day.events, day, past.days),
                "sessions": _volume([one.sessions for one in past.days], day.sessions, day, past.days),
            }
            checked = [
                Checked(f"{name}, as a share of the usual {usual:,.0f},", ratio, least=min(self.min_volume, least))
                for name, (usual, ratio, least) in parts.items()
                if usual >= _FEWEST_EXPECTED
            ]
            found = worst_of(checked, "volume", past)
            steady = all(one.least >= _STEADY for one in checked if not one.ok)
            if found.verdict is Verdict.PASSED or steady:
                return found
            message = f"{found.message}; ordinary days vary so much that a quiet day looks like one with lost events"
            return replace(found, verdict=Verdict.ADVISED, message=message)

        return compare_with_past(facts, self.warm_up_days, judge, fewest=1)


def _volume(
    counts: Sequence[int], count: int, day: DayProfile, days: Sequence[DayProfile]
) -> tuple[float, float, float]:
    """Return the usual count, the day's as a share of it, and the least share that the noise of the past allows."""
    weekdays = [date.fromisoformat(one.day).weekday() for one in days]

    def usual(weekday: int, *, but: int | None = None) -> float:
        same = [n for place, n in enumerate(counts) if weekdays[place] == weekday and place != but]
        others = [n for place, n in enumerate(counts) if place != but]
        return float(median(same if len(same) >= _SAME_WEEKDAY else others))

    ratios = [log(max(n, 1) / max(usual(weekdays[place], but=place), 1)) for place, n in enumerate(counts)]
    noise = _MAD * median(abs(ratio) for ratio in ratios)
    expected = usual(date.fromisoformat(day.day).weekday())
    return expected, count / max(expected, 1), exp(min(-_NOISE * noise, min(ratios) - 2 * noise - 0.15))


@dataclass(frozen=True, slots=True)
class Hours:
    """How much of the usual day may fall into hours without an event, and how far the hours may be from the usual."""

    max_silent_share: float
    max_hours_distance: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the hours of the day with those of the past."""

        def judge(day: DayProfile, past: Past) -> Result:
            usual = _mean_hours(past.days)
            others = [_mean_hours([one for one in past.days if one is not left]) for left in past.days]
            silent = [_silent(one.hours, mean) for one, mean in zip(past.days, others, strict=True)]
            apart = [_distance(_shares(one.hours), mean) for one, mean in zip(past.days, others, strict=True)]
            chance = 2.0 / sqrt(day.sessions)  # few sessions are spread unevenly
            luck = min(9.2 / day.sessions, 0.9)  # sessions leave such a share empty once in 10,000 days
            name = "usual activity in hours without any event (UTC)"
            checked = [
                Checked(name, _silent(day.hours, usual), most=rise_above(silent, max(self.max_silent_share, luck))),
                Checked(
                    f"activity at other hours than usual ({_shift(day.hours, usual)}),",
                    _distance(_shares(day.hours), usual),
                    most=rise_above(apart, self.max_hours_distance, above=chance),
                ),
            ]
            return worst_of(checked, "hours", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _shares(hours: Sequence[int]) -> list[float]:
    return [count / max(sum(hours), 1) for count in hours]


def _mean_hours(days: Sequence[DayProfile]) -> list[float]:
    """Return the mean share of each hour, every day alike."""
    shares = [_shares(day.hours) for day in days]
    return [sum(column) / max(len(shares), 1) for column in zip(*shares, strict=True)]


def _silent(hours: Sequence[int], usual: Sequence[float]) -> float:
    """Return the largest share of usual activity in a run of hours without events."""
    worst = run = 0.0
    for count, share in zip(hours, usual, strict=True):
        run = 0.0 if count else run + share
        worst = max(worst, run)
    return worst


def _distance(shares: Sequence[float], usual: Sequence[float]) -> float:
    """Return the total variation distance: the share of events that would have to move to another hour."""
    return sum(abs(one - other) for one, other in zip(shares, usual, strict=True)) / 2


def _shift(hours: Sequence[int], usual: Sequence[float]) -> str:
    """Say by how many hours the day looks shifted."""
    shares = _shares(hours)
    best = min(range(-12, 12), key=lambda by: (_distance([*shares[by:], *shares[:by]], usual), abs(by)))
    return f"most like the usual if moved by {-best:+d} h" if best else "no shift would fit better"


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How much the shares of exact and of near duplicates may rise over the most of the past."""

    max_duplicate_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare exact duplicates, and events that only differ in request, rank or kind, with the past."""
        measures: Mapping[str, Callable[[DayProfile], float]] = {
            "exact duplicates": lambda day: 1 - day.events / max(day.delivered, 1),
            "near duplicates (another request, rank or event kind)": lambda day: day.near_duplicates / day.events,
        }
        rise = self.max_duplicate_rise
        return compare_with_past(facts, self.warm_up_days, lambda day, past: _risen(measures, day, past, rise))


@dataclass(frozen=True, slots=True)
class Concentration:
    """How much the shares of the top item, user and session, and of events without user, may rise over the past."""

    max_share_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare how much of the day one item, one user or one session has."""
        measures: Mapping[str, Callable[[DayProfile], float]] = {
            "events on one item": lambda day: day.top_item / day.events,
            "events of one user": lambda day: day.top_user / day.events,
            "events of one session": lambda day: day.top_session / day.events,
            "events without a user": lambda day: day.anonymous / day.events,
        }
        return compare_with_past(
            facts, self.warm_up_days, lambda day, past: _risen(measures, day, past, self.max_share_rise)
        )


def _risen(measures: Mapping[str, Callable[[DayProfile], float]], day: DayProfile, past: Past, rise: float) -> Result:
    """Return the worst share, each with a limit of the past's most and `rise` of what is left above it."""
    chance = 1.0 / sqrt(max(day.sessions, 1))
    checked = [
        Checked(f"share of {name}", share(day), most=rise_above([share(one) for one in past.days], rise, above=chance))
        for name, share in measures.items()
    ]
    return worst_of(checked, "shares", past)


@dataclass(frozen=True, slots=True)
class Shape:
    """By which factor events per session, sessions per user and events per item may leave the range of the past."""

    max_shape_factor: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the ratios of events, sessions, users and items with the past."""
        measures: Mapping[str, Callable[[DayProfile], float]] = {
            "events per session": lambda day: day.events / day.sessions,
            "sessions per user": lambda day: day.sessions / max(day.users, 1),
            "distinct items per event": lambda day: day.distinct_items / day.events,
        }

        def judge(day: DayProfile, past: Past) -> Result:
            checked: list[Checked] = []
            for name, ratio in measures.items():
                known = [ratio(one) for one in past.days]
                slack = self.max_shape_factor * (1 + 3.0 / sqrt(max(day.sessions, min(day.events, 30))))
                checked.append(Checked(name, ratio(day), least=min(known) / slack, most=max(known) * slack))
            return worst_of(checked, "shape", past)

        return compare_with_past(facts, self.warm_up_days, judge)


@dataclass(frozen=True, slots=True)
class NewItems:
    """The largest share of events on items that no ordinary day had, beside the most of the past."""

    max_new_item_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of events on unknown items: other ids, or the events of somebody else."""

        def judge(day: DayProfile, past: Past) -> Result:
            known = [one.new_item_share for one in past.days if one.new_item_share is not None]
            limit = max(self.max_new_item_share, rise_above(known[: len(known) - 1] or known, 0.5))
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
            known = [one.item_correlation for one in past.days if one.item_correlation is not None]
            surges = [one.surge_share for one in past.days if one.surge_share is not None]
            checked = [
                Checked(
                    "share of events beyond five times what their items usually have (robots?)",
                    day.surge_share or 0.0,
                    most=rise_above(surges, self.max_surge_rise, above=1.0 / sqrt(max(day.sessions, 1))),
                )
            ]
            error = _SURE / sqrt(max(day.shared_items, 1))
            if day.item_correlation is not None and len(known) >= self.warm_up_days and median(known) > error:
                least = min(self.min_correlation_ratio * median(known), min(known) * 0.8, median(known) - error)
                name = "rank correlation of the items' counts with earlier days (ids shuffled?)"
                checked.append(Checked(name, day.item_correlation, least=least))
            return worst_of(checked, "items", past)

        return compare_with_past(facts, self.warm_up_days, judge)


@dataclass(frozen=True, slots=True)
class Replay:
    """The largest share of a day's events that an earlier day may have had already, at the same time of the day."""

    max_replayed_share: float

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of the day's sketch that the most similar earlier day holds."""

        def judge(day: DayProfile, past: Past) -> Result:
            known = [one.replayed_share for one in past.days if one.replayed_share is not None]
            limit = rise_above(known, self.max_replayed_share)
            name = f"share of events that {day.replayed_day} had at the same time of the day"
            return worst_of([Checked(name, day.replayed_share or 0.0, most=limit)], "replay", past)

        return compare_with_past(facts, 1, judge)
