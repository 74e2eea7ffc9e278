"""Comparison of a day with the ordinary days before it: limits from these days, and one result for several measures.

Measures of small days are noisy, both of the day to judge and of earlier days. So every deviation of an earlier day is
scaled by the square root of its sessions, and days of few sessions are not used to judge large ones.
"""

from collections.abc import Callable, Sequence
from math import asin, exp, log, pi, sin, sqrt
from statistics import median
from typing import Final, Protocol, TypeAlias

import msgspec

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.gate import Result, passes
from recsys_assets.messages import plural

FEWEST_EVENTS: Final = 20  # Events of a day. Shares of fewer are chance.
MAD: Final = 1.4826  # factor from the median absolute deviation to the standard deviation
_LIKE: Final = 5  # a day is compared with days of at least a fifth of its sessions
_ENOUGH: Final = 20  # Sessions. A day with at least as many is compared with days of any size.
_BEYOND: Final = 1.3  # factor on the largest deviation of ordinary days that is still ordinary
_SURE: Final = 3.5  # standard errors
_MOST_SCALE: Final = 3.0  # maximum factor by which a deviation is scaled for the number of sessions
_CERTAIN: Final = 0.98  # maximum limit on a share, unless ordinary days had more
_REMEDY = (
    ". The day does not ship, and the windows of later days exclude it: fix the input and build it again; or, if the "
    "day is right, ship it by --override {gate}, and it counts as ordinary from then on"
)


class Past(msgspec.Struct, frozen=True):
    """The ordinary days before a day, newest first, and the number of consecutive refused days since the last one."""

    days: tuple[DayProfile, ...] = ()
    refused_in_a_row: int = 0

    def like(self, day: DayProfile) -> "Past":
        """Return the days with enough sessions to be compared with `day`."""
        least = min(day.sessions / _LIKE, _ENOUGH)
        return Past(tuple(profile for profile in self.days if profile.sessions >= least), self.refused_in_a_row)


NO_PAST: Final = Past()


Number: TypeAlias = Callable[[DayProfile], float | None]


class HasProfile(Protocol):
    """Facts with a day's profile and the days to compare it with. The profile is None if the day has none."""

    @property
    def profile(self) -> DayProfile | None:
        """The profile of the day to judge."""
        ...

    @property
    def past(self) -> Past:
        """The ordinary days before it."""
        ...


class MeasureCheck(msgspec.Struct, frozen=True):
    """One measure of a day with its limits. An infinite limit does not apply."""

    name: str
    value: float
    least: float = float("-inf")
    most: float = float("inf")

    @property
    def ok(self) -> bool:
        """Whether the value is within its limits."""
        return self.least <= self.value <= self.most

    @property
    def message(self) -> str:
        """The value and its limits as text."""
        bounds = [f"at least {self.least:.3g}"] if self.least > float("-inf") else []
        bounds += [f"at most {self.most:.3g}"] if self.most < float("inf") else []
        return f"{self.name} is {self.value:.3g}, {' and '.join(bounds)} is usual"


class PastMeasure(msgspec.Struct, frozen=True):
    """The values of one measure on the ordinary days, with the number of sessions of each day."""

    values: tuple[float, ...]
    sessions: tuple[int, ...]

    @classmethod
    def of(cls, past: Past, number: Callable[[DayProfile], float | None]) -> "PastMeasure":
        """Return the values of the days that have one."""
        pairs = [(value, day.sessions) for day in past.days if (value := number(day)) is not None]
        return cls(tuple(value for value, _ in pairs), tuple(sessions for _, sessions in pairs))

    def deviation(self, deviations: Sequence[float], sessions: int, *, least_scale: float = 0.0) -> float:
        """Return the largest of the past deviations, each scaled to a day with `sessions` sessions."""
        scales = (min(sqrt(max(count, 1) / max(sessions, 1)), _MOST_SCALE) for count in self.sessions)
        return max(
            (size * max(scale, least_scale) for size, scale in zip(deviations, scales, strict=True)), default=0.0
        )


def most_share(earlier: PastMeasure, sessions: int, rise: float, *, independent: float, sure: float = _SURE) -> float:
    """Return the largest share that is ordinary: the scaled maximum of earlier days plus `rise` of the range above it.

    Deviations are those of the angle whose squared sine is the share (arcsine transformation), so that they mean the
    same for small and for large shares. `independent` is the number of independent draws of the day's share, `sure` the
    number of standard errors that count as chance.
    """
    centre = _angle(median(earlier.values))
    largest = earlier.deviation([max(_angle(share) - centre, 0.0) for share in earlier.values], sessions)
    chance = sure / (2 * sqrt(max(independent, 1.0)))
    usual = _share(centre + largest)
    limit = max(_share(centre + max(_BEYOND * largest, chance)), usual + rise * (1 - usual))
    return min(limit, max(_CERTAIN, *earlier.values))


def check_share(
    name: str, share: Number, day: DayProfile, past: Past, rise: float, *, weight: float = 1.0, sure: float = _SURE
) -> MeasureCheck:
    """Check a share of the day against the largest ordinary one. `weight` is the independent draws per session."""
    earlier, own = PastMeasure.of(past, share), share(day)
    if own is None or not earlier.values:
        return MeasureCheck(f"share of {name}", 0.0)
    limit = most_share(earlier, day.sessions, rise, independent=day.sessions * weight, sure=sure)
    return MeasureCheck(f"share of {name}", own, most=limit)


def ratio_band(earlier: PastMeasure, sessions: int, factor: float, *, independent: float) -> tuple[float, float]:
    """Return the smallest and the largest ordinary ratio: at least `factor` below and above the median."""
    logs = [log(ratio) for ratio in earlier.values]
    centre = median(logs)
    largest = earlier.deviation([abs(value - centre) for value in logs], sessions)
    width = max(1.5 * largest, 2.5 / sqrt(max(independent, 1.0)), log(factor))
    return exp(centre - width), exp(centre + width)


def shares_of(counts: Sequence[int]) -> list[float]:
    """Return counts as shares of their sum."""
    total = max(sum(counts), 1)
    return [count / total for count in counts]


def mean_shares(days: Sequence[Sequence[int]]) -> list[float]:
    """Return the mean share of each position. Every day has the same weight."""
    return [sum(column) / max(len(days), 1) for column in zip(*map(shares_of, days), strict=True)]


def distance(shares: Sequence[float], usual: Sequence[float]) -> float:
    """Return the total variation distance: the share of events that would have to move to another position."""
    return sum(abs(share - other) for share, other in zip(shares, usual, strict=True)) / 2


def check_distance(
    name: str,
    day: DayProfile,
    past: Past,
    counts: Callable[[DayProfile], Sequence[int] | None],
    *,
    least_limit: float,
    independent: float,
) -> MeasureCheck | None:
    """Check a day's distance from the mean distribution against the distance of each ordinary day from the others.

    Returns None if the day has no distribution, or fewer than three ordinary days have one.
    """
    own = counts(day)
    days = [(day_counts, earlier.sessions) for earlier in past.days if (day_counts := counts(earlier)) is not None]
    if own is None or len(days) < 3:  # noqa: PLR2004 - two days can only be compared with each other
        return None
    others = [day_counts for day_counts, _ in days]
    apart = tuple(
        distance(shares_of(counts_of_day), mean_shares(others[:position] + others[position + 1 :]))
        for position, counts_of_day in enumerate(others)
    )
    distances = PastMeasure(apart, tuple(sessions for _, sessions in days))
    usual = distances.deviation(apart, day.sessions, least_scale=0.4)
    chance = 1.8 / sqrt(max(independent, 1.0))
    limit = max(_BEYOND * usual, least_limit, min(chance, 0.97))
    return MeasureCheck(name, distance(shares_of(own), mean_shares(others)), most=min(limit, 0.97))


def independent_draws(counts: Sequence[int]) -> float:
    """Return the effective number of groups, from events by group size in powers of two (Kish 1965).

    It equals their number if all have the same size, and approaches 1 if one of them has most events.
    """
    squares = sum(events * (0.75 * 2**size_class if size_class else 1) for size_class, events in enumerate(counts))
    return sum(counts) ** 2 / squares if squares else 1.0


def worst_of(checks: Sequence[MeasureCheck], subject: str, past: Past) -> Result:
    """Return one result for several measures: its message has all that are beyond their limits, or else the first."""
    over = [check for check in checks if not check.ok]
    listed = over or list(checks[:1])
    if not listed:
        return Result(Verdict.PASSED, None, f"too few sessions and events to judge the {subject}")
    refused = past.refused_in_a_row
    streak = (
        f"; {plural(refused, 'day')} in a row {'was' if refused == 1 else 'were'} refused before this one"
        if refused and over
        else ""
    )
    message = (
        f"{'; '.join(check.message for check in listed)}; by {len(past.days)} ordinary days, {_range(past)}{streak}"
    )
    return Result(passes(ok=not over), round(listed[0].value, 6), message, _REMEDY, count=len(over))


def compare_with_past(
    facts: HasProfile,
    warm_up: int,
    judge: Callable[[DayProfile, Past], Result],
    *,
    fewest: int = FEWEST_EVENTS,
    any_size: bool = False,
) -> Result:
    """Return the result of `judge`. Passes with a reason without a profile, with too few events or during warm-up.

    The day is compared with ordinary days of comparable size (`Past.like`) or, with `any_size`, with all of them.
    `warm_up` is the minimum number of such days, `fewest` the minimum number of events.
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
