"""Gates of a day's activity against its past: how many events and sessions, and at which hours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import exp, hypot, log, sqrt
from statistics import median
from typing import Final, TypeAlias

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day_comparison import (
    FEWEST_EVENTS,
    MAD,
    Checked,
    HasProfile,
    Known,
    Past,
    check_distance,
    check_share,
    compare_with_past,
    distance,
    mean_shares,
    shares_of,
    worst_of,
)
from recsys_assets.gates.gate import Result

_FEWEST_EXPECTED: Final = 20  # sessions or events: half of fewer says nothing
_STEADY: Final = 0.3  # a lower limit, which noise asks for, cannot separate lost events from a quiet day,
_FAR: Final = 0.65  # unless the day is below this share of it
_LOST: Final = 0.5  # of the expected events: on a day of fewer it is asked whether sessions lost some
_ALONE_SURE: Final = 2.0  # standard errors, beside so low a volume

_NOISE: Final = 3  # deviations that an ordinary day may lack, of a target whose volume varies,
_FEW: Final = 3  # and more by few days
_BEYOND: Final = 1.2  # times the largest lack of the past is still ordinary
_DEVIATION: Final = 0.3  # of logarithms of volumes, as it is assumed of a target that is not known yet,
_ASSUMED: Final = 4  # by the weight of so many days

_FEWEST_BEFORE: Final = 2  # days that a forecast needs
_ROUNDS: Final = 4  # in which the level of days and the effects of weekdays settle
_SHRINKAGE: Final = 0.7  # of a weekday's effect: one day of it counts for 1 / 1.7
_NEWER: Final = 0.8  # what a day before counts less than the one after it

_FEWEST_SHIFTS: Final = 3  # days, of which each is like the others or not
_LEAST_GAIN: Final = 0.1  # of events that a shift would bring to usual hours

Count: TypeAlias = Callable[[DayProfile], int]
Counted: TypeAlias = tuple[float, int]  # the logarithm of a day's count, and its weekday


@dataclass(frozen=True, slots=True)
class Volume:
    """The least number of events and of sessions, as a share of those that are expected; less where volume varies more.

    Where ordinary days vary so much that a third of one is ordinary, a low number is reported and refuses nothing,
    unless it is lower by far, or sessions lost events too.
    """

    min_volume: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the day's events and sessions with what is usual."""

        def judge(day: DayProfile, past: Past) -> Result:
            parts = {
                "events": _volume(day.events, day, past.days, lambda one: one.events),
                "sessions": _volume(day.sessions, day, past.days, lambda one: one.sessions),
            }
            checked = [
                Checked(f"{name}, as a share of the usual {usual:,.0f},", ratio, least=min(self.min_volume, least))
                for name, (usual, ratio, least) in parts.items()
                if usual >= _FEWEST_EXPECTED
            ]
            if day.events >= FEWEST_EVENTS and parts["events"][1] < _LOST:
                checked.append(_check_alone(day, past.like(day)))
            found = worst_of(checked, "volume", past)
            sure = any(one.least >= _STEADY or one.value < _FAR * one.least for one in checked if not one.ok)
            sure |= not all(one.most >= one.value for one in checked)
            if found.verdict is Verdict.PASSED or sure:
                return found
            message = f"{found.message}; ordinary days vary so much that a quiet day looks like one with lost events"
            return replace(found, verdict=Verdict.ADVISED, message=message)

        return compare_with_past(facts, self.warm_up_days, judge, fewest=1, any_size=True)


def _check_alone(day: DayProfile, past: Past) -> Checked:
    """Return the share of events that stand alone in their session, on a day of few, beside the past's most.

    A quiet day has sessions as usual; of one that lost events at random, sessions lost some, too.
    """

    def alone(one: DayProfile) -> float | None:
        return one.session_sizes[0] / one.events if one.session_sizes else None

    return check_share(
        "events alone in their session, on a day of so few (lost at random?)",
        alone,
        day,
        past,
        0.0,
        sure=_ALONE_SURE,
    )


def _volume(count: int, day: DayProfile, days: Sequence[DayProfile], number: Count) -> tuple[float, float, float]:
    """Return the expected count, the day's as a share of it, and the least share that the noise of the past allows."""
    known = [(log(max(number(one), 1)), date.fromisoformat(one.day).weekday()) for one in days]
    weekday = date.fromisoformat(day.day).weekday()
    forecast, unsure = _forecast(known, weekday)
    missed = [
        count - _forecast(known[place + 1 :], other, newer=known[:place])[0]
        for place, (count, other) in enumerate(known[:-_FEWEST_BEFORE])
    ]
    few = 1 + _FEW / len(known)  # a handful of days does not show how far ordinary days may lie apart
    own = len(missed) * (MAD * median(abs(one) for one in missed)) ** 2 if missed else 0.0
    variance = max((own + _ASSUMED * _DEVIATION**2) / (len(missed) + _ASSUMED), exp(-forecast))  # not below chance
    noise = _NOISE * few * hypot(sqrt(variance), unsure)
    largest = _BEYOND * max((-one for one in missed), default=0.0) + 0.1 * few**2
    return exp(forecast), count / exp(forecast), exp(-max(noise, largest))


def _forecast(older: Sequence[Counted], weekday: int, newer: Sequence[Counted] = ()) -> tuple[float, float]:
    """Return the logarithm of the count that a weekday is expected to have after older days, the last one first.

    It is their level, the last days the heavier, and what days of this weekday usually have beside it, less where they
    are few; of a day of the past, by what newer days had, too. No single day moves it far. The second number is what
    few days of this weekday leave unsure: as much of what weekdays differ by as was not taken.
    """
    effects = [0.0] * 7
    days = [*newer, *older]
    for _ in range(_ROUNDS):
        level = median(count - effects[at] for count, at in days)
        for at in {at for _, at in days}:
            same = [count - level for count, other in days if other == at]
            effects[at] = median(same) * len(same) / (len(same) + _SHRINKAGE)
    rest = [count - effects[at] for count, at in older]
    middle = median(rest)
    weights = [_NEWER**age for age in range(len(rest))]
    near = (weight * min(max(one, middle - 1), middle + 1) for one, weight in zip(rest, weights, strict=True))
    known = sum(at == weekday for _, at in days)
    apart = hypot(*effects) / sqrt(len({at for _, at in days}))
    return sum(near) / sum(weights) + effects[weekday], apart * _SHRINKAGE / (known + _SHRINKAGE)


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
            checked = [one for one in (silence, apart) if one]
            if len(past.days) >= _FEWEST_SHIFTS:
                checked.append(_check_shift(day, past, usual))
            return worst_of(checked, "hours", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _silent(hours: Sequence[int], usual: Sequence[float]) -> float:
    """Return the largest share of usual activity in a run of hours without events."""
    worst = run = 0.0
    for count, share in zip(hours, usual, strict=True):
        run = 0.0 if count else run + share
        worst = max(worst, run)
    return worst


def _check_shift(day: DayProfile, past: Past, usual: Sequence[float]) -> Checked:
    """Return how much nearer the day's hours would be to the usual ones if all were moved, beside the past's most."""
    days = past.days
    gains = tuple(_gain(one.hours, mean_shares([other.hours for other in days if other is not one]))[0] for one in days)
    known = Known(gains, tuple(one.sessions for one in days))
    gain, by = _gain(day.hours, usual)
    most = max(1.3 * known.deviation([max(one, 0.0) for one in gains], day.sessions), _LEAST_GAIN)
    name = f"share of events that would be at usual hours if all were moved by {-by:+d} h"
    return Checked(name, gain, most=min(max(most, 1 / sqrt(day.sessions)), 0.97))


def _gain(hours: Sequence[int], usual: Sequence[float]) -> tuple[float, int]:
    """Return how much nearer hours are to the usual ones if moved by at least two, and by how many; may be negative."""
    shares = shares_of(hours)
    moved = {by: distance([*shares[by:], *shares[:by]], usual) for by in range(-12, 12) if abs(by) > 1}
    best = min(moved, key=lambda by: (moved[by], abs(by)))
    return distance(shares, usual) - moved[best], best


def _shift(hours: Sequence[int], usual: Sequence[float]) -> str:
    """Say by how many hours the day looks shifted."""
    shares = shares_of(hours)
    best = min(range(-12, 12), key=lambda by: (distance([*shares[by:], *shares[:by]], usual), abs(by)))
    return f"most like the usual if moved by {-best:+d} h" if best else "no shift would fit better"
