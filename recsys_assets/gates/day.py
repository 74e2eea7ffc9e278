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
    MAD,
    Checked,
    HasProfile,
    Known,
    Past,
    check_distance,
    compare_with_past,
    distance,
    independent_draws,
    mean_shares,
    most_share,
    ratio_band,
    shares_of,
    worst_of,
)
from recsys_assets.gates.day_live import LiveOnDay
from recsys_assets.gates.gate import Gate, Result
from recsys_assets.settings.gates import DayGate, DaySettings, Mode

_SAME_WEEKDAY: Final = 3  # earlier days of the weekday, from which on they are the reference
_FEWEST_EXPECTED: Final = 20  # sessions or events: half of fewer says nothing
_STEADY: Final = 0.5  # a lower limit, which noise asks for, cannot separate lost events from a quiet day
_NOISE: Final = 3  # deviations that an ordinary day may lack, of a target whose volume varies; more by few days
_SURE: Final = 3  # standard errors
_STALE: Final = 0.7  # by each refused day before, less of the day's items is known, and counts agree less
_FEWEST_SHARED: Final = 10  # items that counts are compared on


def day_gates(limits: DaySettings) -> list[Gate[HasProfile]]:
    """Return every gate of a day against its past, in the order of the report."""
    warm_up = limits.warm_up_days
    rules: dict[DayGate, Callable[[HasProfile], Result]] = {
        DayGate.VOLUME: Volume(limits.min_volume, warm_up),
        DayGate.HOURS: Hours(limits.max_silent_share, limits.max_hours_distance, warm_up),
        DayGate.DUPLICATES: Duplicates(limits.max_duplicate_rise, warm_up),
        DayGate.CONCENTRATION: Concentration(limits.max_share_rise, warm_up),
        DayGate.SHAPE: Shape(limits.max_shape_factor, limits.max_sizes_distance, warm_up),
        DayGate.NEW_ITEMS: NewItems(limits.max_new_item_share, warm_up),
        DayGate.ITEM_MIX: ItemMix(limits.min_correlation_ratio, limits.max_surge_rise, warm_up),
        DayGate.REPLAY: Replay(limits.max_replayed_share, warm_up),
        DayGate.LIVE: LiveOnDay(limits.min_live_ratio, limits.max_live_ratio, warm_up),
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

        return compare_with_past(facts, self.warm_up_days, judge, fewest=1, any_size=True)


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
    few = 1 + 6 / len(counts)  # a handful of days does not show how far ordinary days may lie apart
    noise = _NOISE * MAD * median(abs(ratio) for ratio in ratios) * few
    expected = usual(date.fromisoformat(day.day).weekday())
    return expected, count / max(expected, 1), exp(min(-noise, 1.1 * min(ratios) - 0.1 * few**2))


@dataclass(frozen=True, slots=True)
class Hours:
    """How much of the usual day may fall into hours without an event, and how far the hours may be from the usual."""

    max_silent_share: float
    max_hours_distance: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the hours of the day with those of the past."""

        def judge(day: DayProfile, past: Past) -> Result:
            usual = mean_shares([one.hours for one in past.days])
            silent = [
                _silent(one.hours, mean_shares([other.hours for other in past.days if other is not one]))
                for one in past.days
                if one.sessions >= min(day.sessions, 30)
            ]
            most = max(silent, default=0.0)
            luck = min(9.2 / day.sessions, 0.9)  # sessions leave such a share empty once in 10,000 days
            limit = min(most + max(self.max_silent_share, luck) * (1 - most), 0.99)
            apart = check_distance(
                f"activity at other hours than usual ({_shift(day.hours, usual)}),",
                day,
                past,
                lambda one: one.hours,
                least_limit=self.max_hours_distance,
                independent=day.sessions,
            )
            silence = Checked("usual activity in hours without any event (UTC)", _silent(day.hours, usual), most=limit)
            return worst_of([one for one in (silence, apart) if one], "hours", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _silent(hours: Sequence[int], usual: Sequence[float]) -> float:
    """Return the largest share of usual activity in a run of hours without events."""
    worst = run = 0.0
    for count, share in zip(hours, usual, strict=True):
        run = 0.0 if count else run + share
        worst = max(worst, run)
    return worst


def _shift(hours: Sequence[int], usual: Sequence[float]) -> str:
    """Say by how many hours the day looks shifted."""
    shares = shares_of(hours)
    best = min(range(-12, 12), key=lambda by: (distance([*shares[by:], *shares[:by]], usual), abs(by)))
    return f"most like the usual if moved by {-best:+d} h" if best else "no shift would fit better"


Share = Callable[[DayProfile], float | None]


def _share_check(name: str, share: Share, day: DayProfile, past: Past, rise: float, *, weight: float = 1.0) -> Checked:
    """Return a share of the day beside the most that is ordinary; `weight` is that of a session as a draw."""
    known, own = Known.of(past, share), share(day)
    if own is None or not known.values:
        return Checked(f"share of {name}", 0.0)
    limit = most_share(known, day.sessions, rise, independent=day.sessions * weight)
    return Checked(f"share of {name}", own, most=limit)


def _weight(past: Past, sizes: Callable[[DayProfile], Sequence[int] | None]) -> float:
    """Return how many independent draws a session is at least, as the largest sessions or users of the past ask."""
    draws = [min(independent_draws(found) / one.sessions, 1.0) for one in past.days if (found := sizes(one))]
    return min(draws, default=1.0)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How much the shares of exact and of near duplicates may rise over the past."""

    max_duplicate_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare exact duplicates, and events that only differ in request, rank or kind, with the past."""

        def judge(day: DayProfile, past: Past) -> Result:
            measures: Mapping[str, Share] = {
                "exact duplicates": lambda one: 1 - one.events / max(one.delivered, 1),
                "near duplicates (another request, rank or event kind)": lambda one: one.near_duplicates / one.events,
            }
            rise = self.max_duplicate_rise
            return worst_of([_share_check(*one, day, past, rise) for one in measures.items()], "duplicates", past)

        return compare_with_past(facts, self.warm_up_days, judge)


@dataclass(frozen=True, slots=True)
class Concentration:
    """How much the shares of the top item, user and session, and of events without user, may rise over the past."""

    max_share_rise: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare how much of the day one item, one user or one session has."""

        def judge(day: DayProfile, past: Past) -> Result:
            by_session, by_user = (_weight(past, sizes) for sizes in (_session_sizes, _user_sizes))
            measures: Sequence[tuple[str, Share, float]] = (
                ("events on one item", lambda one: one.top_item / one.events, 1.0),
                ("events of one user", lambda one: one.top_user / one.events, by_user),
                ("events of one session", lambda one: one.top_session / one.events, by_session),
                ("events without a user", lambda one: one.anonymous / one.events, 1.0),
            )
            checked = [
                _share_check(name, share, day, past, self.max_share_rise, weight=weight)
                for name, share, weight in measures
            ]
            return worst_of(checked, "shares", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _session_sizes(day: DayProfile) -> Sequence[int] | None:
    return day.session_sizes


def _user_sizes(day: DayProfile) -> Sequence[int] | None:
    return day.user_sizes


@dataclass(frozen=True, slots=True)
class Shape:
    """By which factor events per session and sessions per user may differ, and how far their sizes may be apart."""

    max_shape_factor: float
    max_sizes_distance: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare ratios, repeats within sessions, and the sizes of sessions and of users, with the past."""

        def judge(day: DayProfile, past: Past) -> Result:
            draws = {sizes: day.sessions * _weight(past, sizes) for sizes in (_session_sizes, _user_sizes)}
            ratios: Sequence[tuple[str, Callable[[DayProfile], float], float]] = (
                ("events per session", lambda one: one.events / one.sessions, draws[_session_sizes]),
                ("sessions per user", lambda one: one.sessions / max(one.users, 1), draws[_user_sizes]),
            )
            checked: list[Checked | None] = []
            for name, ratio, independent in ratios:
                known = Known.of(past, ratio)
                least, most = ratio_band(known, day.sessions, self.max_shape_factor, independent=independent)
                checked.append(Checked(name, ratio(day), least=least, most=most))
            weight = draws[_session_sizes] / day.sessions
            checked += [
                _share_check("events that repeat an item of their session", _repeats, day, past, 0.2, weight=weight),
                _share_check("events on items new to their session", _first_visits, day, past, 0.6, weight=weight),
                *(
                    check_distance(
                        f"share of events in {what} of other sizes than usual",
                        day,
                        past,
                        sizes,
                        least_limit=self.max_sizes_distance,
                        independent=draws[sizes],
                    )
                    for what, sizes in (("sessions", _session_sizes), ("histories of users", _user_sizes))
                ),
            ]
            return worst_of([one for one in checked if one], "shape", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _repeats(day: DayProfile) -> float | None:
    return None if day.repeats is None else day.repeats / day.events


def _first_visits(day: DayProfile) -> float | None:
    return None if day.repeats is None else 1 - day.repeats / day.events


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
            measures: Mapping[str, Share] = {
                "earlier days": lambda one: one.item_correlation,
                "the last days": lambda one: one.recent_correlation,
            }
            checked = [
                _share_check(surges, lambda one: one.surge_share, day, past, self.max_surge_rise),
                *(self._correlation(*one, day, facts.past) for one in measures.items()),
            ]
            return worst_of([one for one in checked if one], "items", past)

        return compare_with_past(facts, self.warm_up_days, judge)

    def _correlation(self, name: str, correlation: Share, day: DayProfile, past: Past) -> Checked | None:
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

        return compare_with_past(facts, 1, judge, fewest=5, any_size=True)

    def _check(self, how: str, share: float | None, of: str | None, past: Past, known: Share) -> Checked:
        most = max((found for one in past.days if (found := known(one)) is not None), default=0.0)
        limit = min(max(self.max_replayed_share, most + 0.5 * (1 - most)), max(0.97, most))
        return Checked(f"share of events that {of} had {how}", share or 0.0, most=limit)


def _replayed(day: DayProfile) -> float | None:
    return day.replayed_share


def _revisited(day: DayProfile) -> float | None:
    return day.revisited_share
