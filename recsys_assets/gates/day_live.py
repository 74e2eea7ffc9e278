"""Gates of live on the new day: what its lists are worth on events that it has not seen, and which users it knows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, hypot, sqrt
from statistics import median
from typing import Final

from recsys_assets.events.day_profile import DayProfile, LiveScore
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day_comparison import (
    FEWEST_EVENTS,
    MAD,
    Checked,
    HasProfile,
    Known,
    Past,
    compare_with_past,
    most_share,
    worst_of,
)
from recsys_assets.gates.gate import Result

DAYS: Final = 14  # ordinary days whose median is the usual
_FEWEST_ANSWERED: Final = 5
_SURE: Final = 3.3  # standard errors
_LEAST_LIMIT: Final = 0.0  # below it even chance keeps the limit more often than not: such a limit shows nothing,
_LEAST_FADED: Final = 0.1  # nor does a lower one for a release that has not seen days before
_SIMILAR: Final = 1.3  # times the error of the day: of a day of the past that says what such a day may be worth
_MOST_NEW: Final = 0.9  # of visits on an ordinary day: where it was more, all may be by users that are new
_STILL_KNOWN: Final = 0.985  # a limit on new users that no age of live exceeds
_FADES: Final = 0.75  # of the least worth, by each day that live has not seen: so a refusal never keeps later days out


@dataclass(frozen=True, slots=True)
class Worth:
    """What live's lists were worth on a day, as a share of the usual, and its standard error."""

    ratio: float
    error: float


@dataclass(frozen=True, slots=True)
class LiveOnDay:
    """The least and the most that live may be worth on the day, as shares of the median of ordinary days.

    Worth is the gain beside chance (`quality.live_score`): shuffled, inverted, renamed and foreign ids leave nothing of
    it, whatever live's window is; a replay is worth much more. A limit is only used where the day is large enough to
    separate chance from what is usual, else the finding says what it would take.
    """

    min_live_ratio: float
    max_live_ratio: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare what each kind of live was worth, and all lists together, with the ordinary days before."""
        return compare_with_past(facts, self.warm_up_days, self._judge, fewest=1, any_size=True)

    def _judge(self, day: DayProfile, past: Past) -> Result:
        if not day.live:
            return Result(Verdict.PASSED, None, "not judged: nothing is live that has not seen the day and ranks items")
        kinds = {kind: (score, _known(kind, score, past)) for kind, score in day.live.items()}
        enough = {kind: both for kind, both in kinds.items() if len(both[1]) >= self.warm_up_days}
        if not enough:
            most = max(len(known) for _, known in kinds.values())
            return Result(Verdict.PASSED, None, f"warm-up: {most} ordinary days on which such a release was live")
        worth = {
            kind: (_worth(score, known, score), {at: _worth(one, known, score) for at, one in known.items()})
            for kind, (score, known) in enough.items()
            if score.answered >= _FEWEST_ANSWERED and median(one.lift for one in known.values()) > 0
        }
        stale = max(past.refused_in_a_row, *(one.age_days - 1 for one in day.live.values()))
        checked = [
            self._check(f"of live's {kind}", *both, stale, one_list=day.live[kind].one_list)
            for kind, both in worth.items()
        ]
        lists = [both for kind, both in worth.items() if not day.live[kind].one_list]
        if len(lists) > 1:
            days = set[str]().union(*(known for _, known in lists))
            together = {at: _together([known[at] for _, known in lists if at in known]) for at in days}
            checked.append(
                self._check("of live's lists together", _together([own for own, _ in lists]), together, stale)
            )
        judged = [one for one in checked if one is not None]
        if not judged:
            return Result(Verdict.PASSED, None, _too_little(worth, stale))
        return worst_of(judged, "worth of live", past)

    def _check(
        self, what: str, own: Worth, known: Mapping[str, Worth], stale: int, *, one_list: bool = False
    ) -> Checked | None:
        """Return the worth beside its limits; None where the day is too small for a lower one, or live is too old.

        One list for everybody has no upper limit: a bestseller makes it worth more, and replays are seen by the others.
        """
        like = sorted(one.ratio for one in known.values() if one.error <= _SIMILAR * own.error)
        lowest = like[1] if len(like) > 1 else float("inf")  # one odd day of the past does not decide
        highest = like[-1] if like else 1.0
        least = min(self.min_live_ratio, 1 - _SURE * own.error, 0.8 * lowest) * _FADES ** max(stale, 0)
        if least < (_LEAST_FADED if stale > 0 else _LEAST_LIMIT):
            return None
        most = float("inf") if one_list else max(self.max_live_ratio, 1 + 2 * _SURE * own.error, 1.5 * highest)
        name = f"worth {what} on the day beside chance (1: as usual; 0: ids shuffled, renamed or foreign)"
        return Checked(name, own.ratio, least=least, most=most)


@dataclass(frozen=True, slots=True)
class NewUsers:
    """The largest share of visits by users that live does not know, beside the most of the past."""

    max_new_user_share: float
    warm_up_days: int

    def __call__(self, facts: HasProfile) -> Result:
        """Compare the share of visits by users without a list in live: other ids, or the users of somebody else.

        With every day that live has not seen, more users are new to it.
        """
        return compare_with_past(facts, self.warm_up_days, self._judge)

    def _judge(self, day: DayProfile, past: Past) -> Result:
        checked = [
            Checked(
                f"share of visits by users that live's {kind} does not know (ids renamed, or another shop's users?)",
                _new_share(score),
                most=self._limit(score, known, day),
            )
            for kind, score in (day.live or {}).items()
            if score.by_user
            and len(known := _known(kind, score, past, of=_asked)) >= self.warm_up_days
            and max(map(_new_share, known.values())) <= _MOST_NEW
        ]
        if not checked:
            return Result(
                Verdict.PASSED, None, "not judged: live has no lists of users, or knows hardly one on ordinary days"
            )
        return worst_of(checked, "users", past)

    def _limit(self, score: LiveScore, known: Mapping[str, LiveScore], day: DayProfile) -> float:
        shares = Known(tuple(map(_new_share, known.values())), tuple(one.questions for one in known.values()))
        limit = most_share(shares, score.questions, self.max_new_user_share, independent=max(day.users, 1))
        return max(limit, min(1 - (1 - limit) * _FADES ** max(score.age_days - 1, 0), _STILL_KNOWN))


def _new_share(score: LiveScore) -> float:
    return 1 - score.answered / score.questions if score.questions else 0.0


def _asked(score: LiveScore) -> bool:
    return score.questions >= FEWEST_EVENTS


def _scored(score: LiveScore) -> bool:
    return score.answered >= _FEWEST_ANSWERED and score.error > 0


def _known(
    kind: str, score: LiveScore, past: Past, *, of: Callable[[LiveScore], bool] = _scored
) -> dict[str, LiveScore]:
    """Return the scores of the last ordinary days by a live artifact of the same kind and window."""
    found = {one.day: one.live[kind] for one in past.days[:DAYS] if one.live and kind in one.live}
    return {day: one for day, one in found.items() if one.window_days == score.window_days and of(one)}


def _worth(one: LiveScore, known: Mapping[str, LiveScore], day: LiveScore) -> Worth:
    """Return a score as a share of the usual; its error holds what ordinary days differ by beyond chance.

    The error of the day itself is never taken as much smaller than a day of its size usually has: the answers to broken
    questions differ little from one another, as all are wrong.
    """
    usual = median(score.lift for score in known.values())
    chance = median(score.error for score in known.values())
    spread = MAD * median(abs(score.lift - usual) for score in known.values())
    between = sqrt(max(spread**2 - chance**2, 0.0))
    error = one.error
    if one is day:
        answered = median(score.answered for score in known.values())
        error = max(error, 0.8 * chance * sqrt(answered / one.answered))
    return Worth(one.lift / usual, hypot(error, between) / usual)


def _together(parts: Sequence[Worth]) -> Worth:
    """Return the mean of what several kinds were worth, the surer the heavier."""
    weights = [one.error**-2 for one in parts]
    total = sum(weights)
    return Worth(sum(one.ratio * weight for one, weight in zip(parts, weights, strict=True)) / total, total**-0.5)


def _too_little(worth: Mapping[str, tuple[Worth, Mapping[str, Worth]]], stale: int) -> str:
    """Say that the day is too small to separate chance from the usual, and how many times its size would do."""
    if not worth:
        return (
            "not judged: live has hardly a list for what the day asks, or is worth no more than chance on ordinary days"
        )
    if stale > 1:
        return f"not judged: live has not seen the {stale} days before, and may by now be worth no more than chance"
    best = min(own.error for own, _ in worth.values())
    times = ceil((best * _SURE / (1 - _LEAST_LIMIT)) ** 2 * 10) / 10
    if times > 1:
        return (
            "not judged: too few events to separate live's usual worth from chance; a day of about "
            f"{times:g} times as many would do"
        )
    return "not judged: on ordinary days of this size live was at times worth no more than chance"
