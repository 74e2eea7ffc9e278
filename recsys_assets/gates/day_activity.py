"""Gates of a day's activity against its past: how many events and sessions, and at which hours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from math import exp, log
from statistics import median
from typing import Final

from recsys_assets.events.day_profile import DayProfile
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day_comparison import (
    MAD,
    Checked,
    HasProfile,
    Past,
    check_distance,
    compare_with_past,
    distance,
    mean_shares,
    shares_of,
    worst_of,
)
from recsys_assets.gates.gate import Result

_SAME_WEEKDAY: Final = 3  # earlier days of the weekday, from which on they are the reference
_FEWEST_EXPECTED: Final = 20  # sessions or events: half of fewer says nothing
_STEADY: Final = 0.5  # a lower limit, which noise asks for, cannot separate lost events from a quiet day
_NOISE: Final = 3  # deviations that an ordinary day may lack, of a target whose volume varies; more by few days


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
