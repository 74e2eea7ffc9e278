"""Comparison of a day with the ordinary days before it: limits from the past, and one result for several numbers.

A number of a small day is chance, on the day in question and on those before it alike. So every deviation of the past
is scaled by the square root of its day's sessions, and days of few sessions are no measure of large ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import asin, exp, log, pi, sin, sqrt
from statistics import median
from typing import Final, Protocol, TypeAlias

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.gate import Result, passes
from recsys_assets.messages import plural

FEWEST_EVENTS: Final = 20  # of a day: shares of fewer are chance
MAD: Final = 1.4826  # times the median absolute deviation estimates the standard deviation
_LIKE: Final = 5  # a day is compared with those of at least a fifth of its sessions
_ENOUGH: Final = 20  # sessions, with which a day is compared with whatever its own size is
_BEYOND: Final = 1.3  # times the largest deviation of the past is still ordinary
_SURE: Final = 3.5  # standard errors
_MOST_SCALE: Final = 3.0
_CERTAIN: Final = 0.98  # a limit on a share that leaves one above it, unless ordinary days had more
_REMEDY = (
    ". The day does not ship, and the windows of later days leave it out: fix the input and build it again; or, if the "
    "day is right, ship it by --override {gate}, and it is ordinary from then on"
)


@dataclass(frozen=True, slots=True)
class Past:
    """Ordinary days before the one in question, newest first, and how many in a row were refused since the last."""

    days: tuple[DayProfile, ...] = ()
    refused_in_a_row: int = 0

    def like(self, day: DayProfile) -> "Past":
        """Return the days that say something about a day of so many sessions."""
        least = min(day.sessions / _LIKE, _ENOUGH)
        return Past(tuple(one for one in self.days if one.sessions >= least), self.refused_in_a_row)


NO_PAST: Final = Past()


Number: TypeAlias = Callable[[DayProfile], float | None]


class HasProfile(Protocol):
    """Facts that hold a day's profile and the days to compare it with; None where the day has no profile."""

    @property
    def profile(self) -> DayProfile | None:
        """The day in question."""
        ...

    @property
    def past(self) -> Past:
        """Ordinary days before it."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """One number of a day beside its limits; infinite limits are none."""

    name: str
    value: float
    least: float = float("-inf")
    most: float = float("inf")

    @property
    def ok(self) -> bool:
        """Whether the number keeps its limits."""
        return self.least <= self.value <= self.most

    @property
    def message(self) -> str:
        """The number and its limits in words."""
        bounds = [f"at least {self.least:.3g}"] if self.least > float("-inf") else []
        bounds += [f"at most {self.most:.3g}"] if self.most < float("inf") else []
        return f"{self.name} is {self.value:.3g}, {' and '.join(bounds)} is usual"


@dataclass(frozen=True, slots=True)
class Known:
    """One number of the ordinary days, each beside the sessions of its day."""

    values: tuple[float, ...]
    sessions: tuple[int, ...]

    @classmethod
    def of(cls, past: Past, number: Callable[[DayProfile], float | None]) -> "Known":
        """Return a number of the past's days, but of those that do not have it."""
        found = [(value, one.sessions) for one in past.days if (value := number(one)) is not None]
        return cls(tuple(value for value, _ in found), tuple(sessions for _, sessions in found))

    def deviation(self, deviations: Sequence[float], sessions: int, *, least_scale: float = 0.0) -> float:
        """Return the largest deviation of the past, each as it would be on a day of so many sessions."""
        scales = (min(sqrt(max(one, 1) / max(sessions, 1)), _MOST_SCALE) for one in self.sessions)
        return max((by * max(scale, least_scale) for by, scale in zip(deviations, scales, strict=True)), default=0.0)


def most_share(known: Known, sessions: int, rise: float, *, independent: float, sure: float = _SURE) -> float:
    """Return the largest share that is ordinary: the past's most, scaled, and `rise` of what is left above it.

    Deviations are of the angle whose squared sine is the share, so that they mean the same for small and for large
    shares. `independent` is how many independent draws the day's share rests on, `sure` how many standard errors of
    them are still chance.
    """
    centre = _angle(median(known.values))
    largest = known.deviation([max(_angle(one) - centre, 0.0) for one in known.values], sessions)
    chance = sure / (2 * sqrt(max(independent, 1.0)))
    usual = _share(centre + largest)
    limit = max(_share(centre + max(_BEYOND * largest, chance)), usual + rise * (1 - usual))
    return min(limit, max(_CERTAIN, *known.values))


def check_share(
    name: str, share: Number, day: DayProfile, past: Past, rise: float, *, weight: float = 1.0, sure: float = _SURE
) -> Checked:
    """Return a share of the day beside the most that is ordinary; `weight` is that of a session as a draw."""
    known, own = Known.of(past, share), share(day)
    if own is None or not known.values:
        return Checked(f"share of {name}", 0.0)
    limit = most_share(known, day.sessions, rise, independent=day.sessions * weight, sure=sure)
    return Checked(f"share of {name}", own, most=limit)


def ratio_band(known: Known, sessions: int, factor: float, *, independent: float) -> tuple[float, float]:
    """Return the least and the largest ratio that is ordinary, on a scale of logarithms: at least `factor` wide."""
    logs = [log(one) for one in known.values]
    centre = median(logs)
    largest = known.deviation([abs(one - centre) for one in logs], sessions)
    width = max(1.5 * largest, 2.5 / sqrt(max(independent, 1.0)), log(factor))
    return exp(centre - width), exp(centre + width)


def shares_of(counts: Sequence[int]) -> list[float]:
    """Return counts as shares of their sum."""
    total = max(sum(counts), 1)
    return [count / total for count in counts]


def mean_shares(days: Sequence[Sequence[int]]) -> list[float]:
    """Return the mean share of each place, every day alike."""
    return [sum(column) / max(len(days), 1) for column in zip(*map(shares_of, days), strict=True)]


def distance(shares: Sequence[float], usual: Sequence[float]) -> float:
    """Return the total variation distance: the share of events that would have to move to another place."""
    return sum(abs(one - other) for one, other in zip(shares, usual, strict=True)) / 2


def check_distance(
    name: str,
    day: DayProfile,
    past: Past,
    counts: Callable[[DayProfile], Sequence[int] | None],
    *,
    least_limit: float,
    independent: float,
) -> Checked | None:
    """Return how far a day's distribution is from the past's mean, beside what each ordinary day was from the others.

    None where fewer than three days, or not the day itself, have one.
    """
    own = counts(day)
    days = [(found, one.sessions) for one in past.days if (found := counts(one)) is not None]
    if own is None or len(days) < 3:  # noqa: PLR2004 - of two days, each is all that the other is compared with
        return None
    others = [found for found, _ in days]
    apart = tuple(
        distance(shares_of(one), mean_shares(others[:place] + others[place + 1 :])) for place, one in enumerate(others)
    )
    known = Known(apart, tuple(sessions for _, sessions in days))
    usual = known.deviation(apart, day.sessions, least_scale=0.4)
    chance = 1.8 / sqrt(max(independent, 1.0))
    limit = max(_BEYOND * usual, least_limit, min(chance, 0.97))
    return Checked(name, distance(shares_of(own), mean_shares(others)), most=min(limit, 0.97))


def independent_draws(counts: Sequence[int]) -> float:
    """Return the effective number of groups, from events by group size in powers of two (Kish 1965).

    It is their number if all are alike, and towards 1 when one has most.
    """
    squares = sum(events * (0.75 * 2**place if place else 1) for place, events in enumerate(counts))
    return sum(counts) ** 2 / squares if squares else 1.0


def worst_of(checked: Sequence[Checked], what: str, past: Past) -> Result:
    """Return one result for several numbers: all that are beyond their limits are named, or else the first."""
    over = [one for one in checked if not one.ok]
    named = over or list(checked[:1])
    if not named:
        return Result(Verdict.PASSED, None, f"too few sessions and events to judge the {what} by")
    row = past.refused_in_a_row
    streak = (
        f"; {plural(row, 'day')} in a row {'was' if row == 1 else 'were'} refused before this one"
        if row and over
        else ""
    )
    message = f"{'; '.join(one.message for one in named)}; by {len(past.days)} ordinary days, {_range(past)}{streak}"
    return Result(passes(ok=not over), round(named[0].value, 6), message, _REMEDY, count=len(over))


def compare_with_past(
    facts: HasProfile,
    warm_up: int,
    judge: Callable[[DayProfile, Past], Result],
    *,
    fewest: int = FEWEST_EVENTS,
    any_size: bool = False,
) -> Result:
    """Return what `judge` finds; a pass that says so for a day without profile, of too few events, or in warm-up.

    Days are compared with those `like` them, or with `any_size` with all.
    """
    day = facts.profile
    if day is None or not day.events:
        return Result(Verdict.PASSED, None, "the day has no profile to compare")
    if day.delivered < fewest:
        return Result(Verdict.PASSED, None, f"{day.delivered} events are too few to judge by, {fewest} are needed")
    past = facts.past if any_size else facts.past.like(day)
    if len(past.days) < warm_up:
        message = f"warm-up: {len(past.days)} ordinary days before this one"
        if len(facts.past.days) >= warm_up:
            message += f" of at least a fifth of its {day.sessions:,} sessions"
        return Result(Verdict.PASSED, None, f"{message}, judged from {warm_up} on")
    return judge(day, past)


def _range(past: Past) -> str:
    return f"{past.days[-1].day} to {past.days[0].day}"


def _angle(share: float) -> float:
    return asin(sqrt(min(max(share, 0.0), 1.0)))


def _share(angle: float) -> float:
    return sin(min(max(angle, 0.0), pi / 2)) ** 2
