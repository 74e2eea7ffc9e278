"""Gates of the live release on a new day: the worth of its lists on unseen events, and the share of new users."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, hypot, sqrt
from statistics import median
from typing import Final

import msgspec

from recsys_assets.events.day_profile import DayProfile, LiveScore
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day_comparison import (
    FEWEST_EVENTS,
    MAD,
    HasProfile,
    MeasureCheck,
    Past,
    PastMeasure,
    compare_with_past,
    most_share,
    worst_of,
)
from recsys_assets.gates.gate import Result

DAYS: Final = 14  # ordinary days whose median counts as usual
_FEWEST_ANSWERED: Final = 5  # lookups with a result that a score needs
_SURE: Final = 3.3  # standard errors
_LEAST_LIMIT: Final = 0.0  # chance passes a lower limit more often than not, so such a limit is not used
_LEAST_FADED: Final = 0.1  # the same for a live release that has not seen the days before
_SIMILAR: Final = 1.3  # maximum error of a comparable earlier day, as a multiple of the day's error
_MOST_NEW: Final = 0.9  # Maximum share of new users on an ordinary day. Above it every visit may be by a new user.
_STILL_KNOWN: Final = 0.985  # maximum limit on new users, whatever the age of the live release
_FADES: Final = 0.75  # factor on the minimum worth per day that live has not seen: a refusal never blocks later days


class Worth(msgspec.Struct, frozen=True):
    """Worth of the live lists on a day, as a share of the usual worth, with its standard error."""

    ratio: float
    error: float


@dataclass(frozen=True, slots=True)
class LiveOnDay:
    """The minimum and maximum worth of the live release on the day, as shares of the median of ordinary days.

    Worth is the gain over chance (`quality.live_score`). Shuffled, inverted, renamed and foreign ids reduce it to zero,
    whatever the window of the live release. A replay raises it far above the usual. A limit is only used if the day is
    large enough to separate chance from the usual worth. Otherwise the finding says how large it would have to be.
    """

    min_live_ratio: float
    max_live_ratio: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the worth of each live kind, and of all lists together, with the ordinary days before."""
        return compare_with_past(facts, self.warm_up_days, self._judge, fewest=1, any_size=True)

    def _judge(self, day: DayProfile, past: Past) -> Result:
        if not day.live:
            return Result(Verdict.PASSED, None, "not judged: nothing is live that has not seen the day and ranks items")
        kinds = {kind: (score, _earlier_scores(kind, score, past)) for kind, score in day.live.items()}
        enough = {kind: scores for kind, scores in kinds.items() if len(scores[1]) >= self.warm_up_days}
        if not enough:
            most = max(len(earlier) for _, earlier in kinds.values())
            return Result(Verdict.PASSED, None, f"warm-up: {most} ordinary days on which such a release was live")
        worth = {
            kind: (
                _worth(score, earlier, score),
                {at: _worth(earlier_score, earlier, score) for at, earlier_score in earlier.items()},
            )
            for kind, (score, earlier) in enough.items()
            if score.answered >= _FEWEST_ANSWERED
            and median(earlier_score.lift for earlier_score in earlier.values()) > 0
        }
        stale = max(past.refused_in_a_row, *(score.age_days - 1 for score in day.live.values()))
        checks = [
            self._check(f"of the live {kind}", *worths, stale, one_list=day.live[kind].one_list)
            for kind, worths in worth.items()
        ]
        lists = [worths for kind, worths in worth.items() if not day.live[kind].one_list]
        if len(lists) > 1:
            days = set[str]().union(*(earlier for _, earlier in lists))
            together = {at: _together([earlier[at] for _, earlier in lists if at in earlier]) for at in days}
            checks.append(
                self._check("of all live lists together", _together([own for own, _ in lists]), together, stale)
            )
        judged = [check for check in checks if check is not None]
        if not judged:
            return Result(Verdict.PASSED, None, _too_little(worth, stale))
        return worst_of(judged, "worth of live", past)

    def _check(
        self, label: str, own: Worth, earlier: Mapping[str, Worth], stale: int, *, one_list: bool = False
    ) -> MeasureCheck | None:
        """Check the worth against its limits.

        Returns None if the day is too small for a lower limit, or the live release is too old.
        A single list for all users has no upper limit: a bestseller raises its worth, and the other kinds show replays.
        """
        similar = sorted(worth.ratio for worth in earlier.values() if worth.error <= _SIMILAR * own.error)
        lowest = similar[1] if len(similar) > 1 else float("inf")  # a single outlier does not set the limit
        highest = similar[-1] if similar else 1.0
        least = min(self.min_live_ratio, 1 - _SURE * own.error, 0.8 * lowest) * _FADES ** max(stale, 0)
        if least < (_LEAST_FADED if stale > 0 else _LEAST_LIMIT):
            return None
        most = float("inf") if one_list else max(self.max_live_ratio, 1 + 2 * _SURE * own.error, 1.5 * highest)
        name = f"worth {label} on the day over chance (1: as usual; 0: ids shuffled, renamed or foreign)"
        return MeasureCheck(name, own.ratio, least=least, most=most)


@dataclass(frozen=True, slots=True)
class NewUsers:
    """The maximum rise of the share of visits by users that the live release does not know."""

    max_new_user_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of visits by users without a live list, which shows renamed ids or another shop's users.

        The limit rises with every day that the live release has not seen, because more users are new to it.
        """
        return compare_with_past(facts, self.warm_up_days, self._judge)

    def _judge(self, day: DayProfile, past: Past) -> Result:
        checks = [
            MeasureCheck(
                f"share of visits by users that the live {kind} does not know (ids renamed, or another shop's users?)",
                _new_share(score),
                most=self._limit(score, earlier, day),
            )
            for kind, score in (day.live or {}).items()
            if score.by_user
            and len(earlier := _earlier_scores(kind, score, past, usable=_has_lookups)) >= self.warm_up_days
            and max(map(_new_share, earlier.values())) <= _MOST_NEW
        ]
        if not checks:
            return Result(
                Verdict.PASSED,
                None,
                "not judged: live has no lists per user, or knows hardly any user on ordinary days",
            )
        return worst_of(checks, "users", past)

    def _limit(self, score: LiveScore, earlier: Mapping[str, LiveScore], day: DayProfile) -> float:
        lookups = tuple(earlier_score.questions for earlier_score in earlier.values())
        shares = PastMeasure(tuple(map(_new_share, earlier.values())), lookups)
        limit = most_share(shares, score.questions, self.max_new_user_share, independent=max(day.users, 1))
        return max(limit, min(1 - (1 - limit) * _FADES ** max(score.age_days - 1, 0), _STILL_KNOWN))


def _new_share(score: LiveScore) -> float:
    return 1 - score.answered / score.questions if score.questions else 0.0


def _has_lookups(score: LiveScore) -> bool:
    return score.questions >= FEWEST_EVENTS


def _scored(score: LiveScore) -> bool:
    return score.answered >= _FEWEST_ANSWERED and score.error > 0


def _earlier_scores(
    kind: str, score: LiveScore, past: Past, *, usable: Callable[[LiveScore], bool] = _scored
) -> dict[str, LiveScore]:
    """Return, by day, the usable scores of a live artifact of the same kind and window on the last ordinary days."""
    scores = {profile.day: profile.live[kind] for profile in past.days[:DAYS] if profile.live and kind in profile.live}
    return {
        day: earlier for day, earlier in scores.items() if earlier.window_days == score.window_days and usable(earlier)
    }


def _worth(measured: LiveScore, earlier: Mapping[str, LiveScore], day: LiveScore) -> Worth:
    """Return a score as a share of the usual. Its error includes the variation between ordinary days beyond chance.

    For the day itself (`measured is day`) the error is at least 0.8 of the usual one for its size. On a broken day all
    results are wrong and so differ little, which would make the measured error too small.
    """
    usual = median(score.lift for score in earlier.values())
    chance = median(score.error for score in earlier.values())
    spread = MAD * median(abs(score.lift - usual) for score in earlier.values())
    between = sqrt(max(spread**2 - chance**2, 0.0))
    error = measured.error
    if measured is day:
        answered = median(score.answered for score in earlier.values())
        error = max(error, 0.8 * chance * sqrt(answered / measured.answered))
    return Worth(measured.lift / usual, hypot(error, between) / usual)


def _together(parts: Sequence[Worth]) -> Worth:
    """Return the mean worth of several kinds, weighted by the inverse of the squared errors."""
    weights = [part.error**-2 for part in parts]
    total = sum(weights)
    return Worth(sum(part.ratio * weight for part, weight in zip(parts, weights, strict=True)) / total, total**-0.5)


def _too_little(worth: Mapping[str, tuple[Worth, Mapping[str, Worth]]], stale: int) -> str:
    """Return the reason why the day cannot be judged.

    For a day that is too small, it has the factor that is missing.
    """
    if not worth:
        return (
            "not judged: live has hardly a list for the day's lookups, or is worth no more than chance on ordinary days"
        )
    if stale > 1:
        return f"not judged: live has not seen the {stale} days before, and may be worth no more than chance"
    best = min(own.error for own, _ in worth.values())
    times = ceil((best * _SURE / (1 - _LEAST_LIMIT)) ** 2 * 10) / 10
    if times > 1:
        return (
            "not judged: too few events to separate the usual worth from chance; a day of about "
            f"{times:g} times as many would be enough"
        )
    return "not judged: on some ordinary days of this size live was worth no more than chance"
