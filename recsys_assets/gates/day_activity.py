"""Gates of a day's activity against earlier days: numbers of events and sessions, and their hours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from math import exp, hypot, log, sqrt
from statistics import median
from typing import Final, TypeAlias

from msgspec.structs import replace

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day_comparison import (
    FEWEST_EVENTS,
    MAD,
    HasProfile,
    MeasureCheck,
    Past,
    PastMeasure,
    check_distance,
    check_share,
    compare_with_past,
    distance,
    mean_shares,
    shares_of,
    worst_of,
)
from recsys_assets.gates.gate import Result

_FEWEST_EXPECTED: Final = 20  # Sessions or events. Losing half of fewer is within chance.
_STEADY: Final = 0.3  # A limit that noise lowered below this cannot separate lost events from a quiet day.
_FAR: Final = 0.65  # A day below this share of such a lowered limit is refused all the same.
_LOST: Final = 0.5  # share of the expected events below which the sessions are checked for lost events
_ALONE_SURE: Final = 2.0  # standard errors for the check of sessions on a day of such a low volume

_NOISE: Final = 3  # deviations by which an ordinary day may be lower, for a target whose volume varies
_FEW: Final = 3  # widens the noise by 1 + this / number of ordinary days
_BEYOND: Final = 1.2  # factor on the largest shortfall of the ordinary days that is still ordinary
_DEVIATION: Final = 0.3  # Assumed standard deviation of logarithms of volumes, for a target with few days.
_ASSUMED: Final = 4  # weight of `_DEVIATION`, as a number of days

_FEWEST_BEFORE: Final = 2  # days that a forecast needs
_ROUNDS: Final = 4  # iterations until the level of days and the effects of weekdays converge
_SHRINKAGE: Final = 0.7  # Share of a weekday's effect that counts: a single day of it has the weight 1 / 1.7.
_NEWER: Final = 0.8  # weight of a day relative to the day after it

_FEWEST_SHIFTS: Final = 3  # days needed to compare each with the others
_LEAST_GAIN: Final = 0.1  # minimum limit on the share of events that a shift would move to usual hours

Count: TypeAlias = Callable[[DayProfile], int]
Counted: TypeAlias = tuple[float, int]  # logarithm of a day's count, and its weekday (Monday is 0)


@dataclass(frozen=True, slots=True)
class MinVolume:
    """The minimum number of events and of sessions, as a share of the expected ones. Lower where volume varies more.

    If a third of the expected volume is still ordinary, a low number is reported but not refused, unless it is far
    below the limit or sessions lost events too.
    """

    min_volume: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the day's events and sessions with the expected ones."""

        def judge(day: DayProfile, past: Past) -> Result:
            parts = {
                "events": _volume(day.events, day, past.days, lambda profile: profile.events),
                "sessions": _volume(day.sessions, day, past.days, lambda profile: profile.sessions),
            }
            checks = [
                MeasureCheck(f"{name}, as a share of the usual {usual:,.0f},", ratio, least=min(self.min_volume, least))
                for name, (usual, ratio, least) in parts.items()
                if usual >= _FEWEST_EXPECTED
            ]
            if day.events >= FEWEST_EVENTS and parts["events"][1] < _LOST:
                checks.append(_check_alone(day, past.like(day)))
            result = worst_of(checks, "volume", past)
            sure = any(check.least >= _STEADY or check.value < _FAR * check.least for check in checks if not check.ok)
            sure |= not all(check.most >= check.value for check in checks)
            if result.verdict is Verdict.PASSED or sure:
                return result
            message = f"{result.message}; ordinary days vary so much that a quiet day looks like one with lost events"
            return replace(result, verdict=Verdict.ADVISED, message=message)

        return compare_with_past(facts, self.warm_up_days, judge, fewest=1, any_size=True)


def _check_alone(day: DayProfile, past: Past) -> MeasureCheck:
    """Check the share of sessions' only events against the maximum of earlier days, on a day of few events.

    A quiet day has ordinary sessions. On a day that lost events at random, sessions lost events too.
    """

    def alone(profile: DayProfile) -> float | None:
        return profile.session_sizes[0] / profile.events if profile.session_sizes else None

    return check_share(
        "events alone in their session, on a day with few events (lost at random?)",
        alone,
        day,
        past,
        0.0,
        sure=_ALONE_SURE,
    )


def _volume(count: int, day: DayProfile, days: Sequence[DayProfile], number: Count) -> tuple[float, float, float]:
    """Return the expected count, the day's count as a share of it, and the lowest share that is within past noise."""
    earlier = [(log(max(number(profile), 1)), date.fromisoformat(profile.day).weekday()) for profile in days]
    weekday = date.fromisoformat(day.day).weekday()
    forecast, unsure = _forecast(earlier, weekday)
    missed = [
        count - _forecast(earlier[index + 1 :], other, newer=earlier[:index])[0]
        for index, (count, other) in enumerate(earlier[:-_FEWEST_BEFORE])
    ]
    few = 1 + _FEW / len(earlier)  # few days do not show how much ordinary days may differ
    own = len(missed) * (MAD * median(abs(error) for error in missed)) ** 2 if missed else 0.0
    # At least the variance of chance.
    variance = max((own + _ASSUMED * _DEVIATION**2) / (len(missed) + _ASSUMED), exp(-forecast))
    noise = _NOISE * few * hypot(sqrt(variance), unsure)
    largest = _BEYOND * max((-error for error in missed), default=0.0) + 0.1 * few**2
    return exp(forecast), count / exp(forecast), exp(-max(noise, largest))


def _forecast(older: Sequence[Counted], weekday: int, newer: Sequence[Counted] = ()) -> tuple[float, float]:
    """Forecast the logarithm of a weekday's count from `older` days, newest first, with its uncertainty.

    The forecast is the level of the older days, in which recent days weigh more, plus the usual effect of the weekday,
    shrunk where there are few such days. For an earlier day, `newer` days contribute to the effects too. No single day
    moves it far. The uncertainty is the part of the differences between weekdays that the shrinkage removed.
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
    near = (weight * min(max(level, middle - 1), middle + 1) for level, weight in zip(rest, weights, strict=True))
    same_weekday = sum(at == weekday for _, at in days)
    apart = hypot(*effects) / sqrt(len({at for _, at in days}))
    return sum(near) / sum(weights) + effects[weekday], apart * _SHRINKAGE / (same_weekday + _SHRINKAGE)


@dataclass(frozen=True, slots=True)
class HourPattern:
    """The maximum share of usual activity in hours without events, and the maximum distance from the usual hours."""

    max_silent_share: float
    max_hours_distance: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the distribution over hours (UTC) with that of earlier days."""

        def judge(day: DayProfile, past: Past) -> Result:
            usual = mean_shares([profile.hours for profile in past.days])
            silent = [
                _silent(profile.hours, mean_shares([other.hours for other in past.days if other is not profile]))
                for profile in past.days
                if profile.sessions >= min(day.sessions, 30)
            ]
            most = max(silent, default=0.0)
            luck = min(9.2 / day.sessions, 0.9)  # independent sessions leave this share empty once in 10,000 days
            limit = min(most + max(self.max_silent_share, luck) * (1 - most), 0.99)
            apart = check_distance(
                f"activity at other hours than usual ({_shift(day.hours, usual)}),",
                day,
                past,
                lambda profile: profile.hours,
                least_limit=self.max_hours_distance,
                independent=day.sessions,
            )
            silence = MeasureCheck(
                "usual activity in hours without any event (UTC)", _silent(day.hours, usual), most=limit
            )
            checks = [check for check in (silence, apart) if check]
            if len(past.days) >= _FEWEST_SHIFTS:
                checks.append(_check_shift(day, past, usual))
            return worst_of(checks, "hours", past)

        return compare_with_past(facts, self.warm_up_days, judge)


def _silent(hours: Sequence[int], usual: Sequence[float]) -> float:
    """Return the largest share of usual activity that falls into a run of hours without events."""
    worst = run = 0.0
    for count, share in zip(hours, usual, strict=True):
        run = 0.0 if count else run + share
        worst = max(worst, run)
    return worst


def _check_shift(day: DayProfile, past: Past, usual: Sequence[float]) -> MeasureCheck:
    """Check the gain of shifting all hours of the day towards the usual ones against the maximum of earlier days."""
    days = past.days
    gains = tuple(
        _gain(profile.hours, mean_shares([other.hours for other in days if other is not profile]))[0]
        for profile in days
    )
    earlier = PastMeasure(gains, tuple(profile.sessions for profile in days))
    gain, shift = _gain(day.hours, usual)
    most = max(1.3 * earlier.deviation([max(profile, 0.0) for profile in gains], day.sessions), _LEAST_GAIN)
    name = f"share of events that would be at usual hours if all were moved by {-shift:+d} h"
    return MeasureCheck(name, gain, most=min(max(most, 1 / sqrt(day.sessions)), 0.97))


def _gain(hours: Sequence[int], usual: Sequence[float]) -> tuple[float, int]:
    """Return the gain, which may be negative, of the best shift by at least two hours, and that shift in hours."""
    shares = shares_of(hours)
    moved = {by: distance([*shares[by:], *shares[:by]], usual) for by in range(-12, 12) if abs(by) > 1}
    best = min(moved, key=lambda by: (moved[by], abs(by)))
    return distance(shares, usual) - moved[best], best


def _shift(hours: Sequence[int], usual: Sequence[float]) -> str:
    """Return a phrase with the number of hours by which the day seems shifted."""
    shares = shares_of(hours)
    best = min(range(-12, 12), key=lambda by: (distance([*shares[by:], *shares[:by]], usual), abs(by)))
    return f"most like the usual if moved by {-best:+d} h" if best else "no shift fits better"
