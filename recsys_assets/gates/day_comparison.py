"""Comparison of a day with the ordinary days before it: limits from the past, and one result for several numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.gate import Result, passes
from recsys_assets.messages import plural

FEWEST_EVENTS: Final = 100  # of a day: shares of fewer are chance


@dataclass(frozen=True, slots=True)
class Past:
    """Ordinary days before the one in question, newest first, and how many in a row were refused since the last."""

    days: tuple[DayProfile, ...] = ()
    refused_in_a_row: int = 0


NO_PAST: Final = Past()


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


def rise_above(known: Sequence[float], rise: float, *, above: float = 0.0) -> float:
    """Return a limit that is the most of the past, and a share of what is left between it and 1."""
    most = max(known, default=0.0)
    return min(most + max(rise, min(above, 0.5)) * (1 - most), 0.999)


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


_REMEDY = (
    ". The day does not ship, and the windows of later days leave it out: fix the input and build it again; or, if the "
    "day is right, ship it by --override {gate}, and it is ordinary from then on"
)


def _range(past: Past) -> str:
    return f"{past.days[-1].day} to {past.days[0].day}"


def compare_with_past(
    facts: HasProfile, warm_up: int, judge: Callable[[DayProfile, Past], Result], *, fewest: int = FEWEST_EVENTS
) -> Result:
    """Return what `judge` finds; a pass that says so for a day without profile, of too few events, or in warm-up."""
    day, past = facts.profile, facts.past
    if day is None or not day.events:
        return Result(Verdict.PASSED, None, "the day has no profile to compare")
    if day.delivered < fewest:
        return Result(Verdict.PASSED, None, f"{day.delivered} events are too few to judge by, {fewest} are needed")
    if len(past.days) < warm_up:
        message = f"warm-up: {len(past.days)} ordinary days before this one, judged from {warm_up} on"
        return Result(Verdict.PASSED, None, message)
    return judge(day, past)
