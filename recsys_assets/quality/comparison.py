"""Scores of recommendations against what came next, and two releases on the same tasks with their difference."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from heapq import nlargest
from itertools import islice
from typing import TypeAlias

import numpy as np

from recsys_assets.quality.tasks import Task, Tasks
from recsys_assets.serving.recommending import NEAREST, Recommender, Weights, recommenders
from recsys_assets.serving.snapshot import Snapshot

Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
_LOOK_UP = 0xFF  # after so many tasks the caller is asked whether to go on
LEAST_DIFFERENT = 30  # answers that differ: resampling fewer gives no interval to refuse anybody by


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One recommender's answers: a number per task, each the mean over the items that came next.

    Items of equal weight stand in every order: a number is the mean over all of them.
    """

    hits: Floats  # whether the next item was among the first k
    reciprocals: Floats  # 1 / place, 0 beyond k
    gains: Floats  # nDCG: with one right answer, 1 / log2(place + 1)
    answered: float  # share of tasks with any recommendation at all
    coverage: float  # share of the held-out events' items that were surely recommended at least once

    @property
    def hit_rate(self) -> float:
        """Share of tasks whose next item was among the first k."""
        return _mean(self.hits)

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank; what is missing counts 0."""
        return _mean(self.reciprocals)

    @property
    def ndcg(self) -> float:
        """Mean nDCG at k over all tasks."""
        return _mean(self.gains)


def score(recommender: Recommender, tasks: Tasks, *, k: int, go_on: Callable[[], None] = lambda: None) -> Scores:
    """Return how each task's next items stood among the first `k`; `go_on` is called now and then, and may raise."""
    known = replace(recommender, beside=cache(recommender.beside))
    popular, sums = _Popular(recommender.fill()), _sums_of_places(k)
    numbers, shown, answered = np.zeros((3, len(tasks.tasks))), set[str](), 0
    for number, task in enumerate(tasks.tasks):
        if number & _LOOK_UP == 0:
            go_on()
        answer = _Answer(known, popular, task)
        for target in task.targets:
            above, equal = answer.place(target, k)
            low, high = min(above, k), min(above + equal, k)
            numbers[:, number] += (sums[:, high] - sums[:, low]) / equal
            if above + equal <= k:
                shown.add(target)
        numbers[:, number] /= len(task.targets)
        shown.update(answer.surely_shown(k))
        answered += answer.is_any
    coverage = len(shown & tasks.items) / len(tasks.items) if tasks.items else 0.0
    return Scores(numbers[0], numbers[1], numbers[2], answered / max(len(tasks.tasks), 1), coverage)


class _Sorted:
    """Numbers among which it is asked how many are above one, and how many equal it."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = sorted(numbers)

    def above(self, number: int) -> int:
        return len(self.numbers) - bisect_right(self.numbers, number)

    def equal(self, number: int) -> int:
        return bisect_right(self.numbers, number) - bisect_left(self.numbers, number)


class _Popular:
    """The list that fills what is short: counts by item, and in order."""

    def __init__(self, fill: Iterable[tuple[str, int]]) -> None:
        self.counts = dict(fill)
        self.sorted = _Sorted(self.counts.values())


class _Answer:
    """What a recommender answers to one task: weights of the items that could be named, and where a target stands.

    Of a session in one instant every item is a target with the others as context. The weights are summed once over all
    its items; what a target itself adds to others is taken away where that target is placed.
    """

    def __init__(self, recommender: Recommender, popular: _Popular, task: Task) -> None:
        self._together = not task.context
        self._beside, self._popular = recommender.beside, popular
        self._seen = {*task.targets} if self._together else {item for step in task.context for item in step}
        steps = [task.targets] if self._together else task.context
        self._weights = recommender.weigh(task.user, steps, unasked=int(self._together))
        self._free = {item: weight for item, weight in self._weights.items() if item not in self._seen}
        self._sorted = _Sorted(self._free.values())
        self._taken: _Sorted | None = None

    @property
    def is_any(self) -> bool:
        """Whether anything is recommended."""
        return bool(self._free) or any(
            item not in self._seen for item in islice(self._popular.counts, len(self._seen) + 1)
        )

    def place(self, target: str, k: int) -> tuple[int, int]:
        """Return how many items stand above a target, and how many, with itself, have its weight; (k, 1): none of k."""
        own = self._beside(target) if self._together else {}
        changes = [
            (weight, weight - less * NEAREST)
            for other, less in own.items()
            if (weight := self._free.get(other)) is not None
        ]
        weight = self._weights.get(target, 0) - own.get(target, 0) * NEAREST
        if weight > 0:
            above = self._sorted.above(weight) + sum((new > weight) - (old > weight) for old, new in changes)
            equal = self._sorted.equal(weight) + sum((new == weight) - (old == weight) for old, new in changes)
            return above, equal + self._together
        gone = [other for other, less in own.items() if self._free.get(other) == less * NEAREST]
        return self._place_in_fill(target, gone, len(self._free) - len(gone), k)

    def _place_in_fill(self, target: str, gone: Sequence[str], before: int, k: int) -> tuple[int, int]:
        counts = self._popular.counts
        count = counts.get(target)
        if count is None or before >= k:
            return k, 1
        if self._taken is None:
            self._taken = _Sorted(counts[item] for item in {*self._seen, *self._free} if item in counts)
        back = [counts[item] for item in gone if item in counts]
        above = self._popular.sorted.above(count) - self._taken.above(count) + sum(one > count for one in back)
        equal = self._popular.sorted.equal(count) - self._taken.equal(count) + sum(one == count for one in back)
        return before + above, equal + self._together

    def surely_shown(self, k: int) -> list[str]:
        """Return the items that are among the first `k` whatever the order of equals."""
        best = _surely_first(self._free, k)
        if len(self._free) >= k:
            return best
        counts = self._popular.counts
        rest = (item for item in counts if item not in self._seen and item not in self._free)
        left = k - len(self._free)
        return [*best, *_surely_first({item: counts[item] for item in islice(rest, left + 1)}, left)]


def _surely_first(weights: Weights, k: int) -> list[str]:
    """Return the at most `k` items that no order of equals takes from the first `k`."""
    if len(weights) <= k:
        return [*weights]
    bound = nlargest(k + 1, weights.values())[-1]
    return [item for item, weight in weights.items() if weight > bound]


def _sums_of_places(k: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return, for hits, reciprocal ranks and gains, their sums over the first 0 to k places."""
    places = np.arange(1, k + 1)
    return np.cumsum([np.zeros(3), *zip(np.ones(k), 1 / places, 1 / np.log2(places + 1), strict=True)], axis=0).T


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


class ComparisonVerdict(StrEnum):
    """Verdict on a candidate beside what is live."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a comparison is made: list length, allowed loss, least tasks, and the bootstrap."""

    k: int = 20
    delta: float = 0.2  # the loss that is allowed, as a share of live's nDCG
    min_samples: int = 200
    rounds: int = 1000
    seed: int = 1
    level: float = 0.99  # of the interval, two-sided


@dataclass(frozen=True, slots=True, eq=False)
class ComparedScores:
    """One recommender on both sides; `low` and `high` bound the candidate's nDCG minus live's."""

    name: str
    candidate: Scores
    live: Scores
    low: float
    high: float
    allowed: float  # the difference, 0 or negative, that is not yet worse
    verdict: ComparisonVerdict

    @property
    def difference(self) -> float:
        """The candidate's nDCG minus live's, on the same tasks."""
        return self.candidate.ndcg - self.live.ndcg


def compare(
    candidate: Snapshot, live: Snapshot, tasks: Tasks, protocol: Protocol, *, go_on: Callable[[], None] = lambda: None
) -> list[ComparedScores]:
    """Return each recommender that either side has, by name; a kind that one side lacks recommends nothing there.

    `go_on` is called every few hundred tasks, and may raise to end the comparison.
    """
    new, old = recommenders(candidate.lookups), recommenders(live.lookups)
    compared: list[ComparedScores] = []
    for name in sorted({*new, *old}):
        sides = [score(side.get(name, Recommender()), tasks, k=protocol.k, go_on=go_on) for side in (new, old)]
        compared.append(_compared(name, sides[0], sides[1], protocol))
    return compared


def paired_interval(differences: Floats, *, rounds: int, seed: int, level: float) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of paired differences (Efron 1979); seeded.

    Without differences it is (-inf, inf): nothing is known.
    """
    if not len(differences):
        return -np.inf, np.inf
    random = np.random.default_rng(seed)
    means = [differences[random.integers(0, len(differences), len(differences))].mean() for _ in range(rounds)]
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _compared(name: str, candidate: Scores, live: Scores, protocol: Protocol) -> ComparedScores:
    differences = candidate.gains - live.gains
    low, high = paired_interval(differences, rounds=protocol.rounds, seed=protocol.seed, level=protocol.level)
    allowed = -protocol.delta * live.ndcg
    verdict = _judge(differences, low, high, allowed=allowed, least=protocol.min_samples)
    if candidate.ndcg == live.ndcg == 0:
        verdict = ComparisonVerdict.INCONCLUSIVE  # neither side knew one next item: that both are as bad shows nothing
    return ComparedScores(name, candidate, live, low, high, allowed, verdict)


def _judge(differences: Floats, low: float, high: float, *, allowed: float, least: int) -> ComparisonVerdict:
    """Return worse only where the whole interval is, and not worse only where the whole interval is that."""
    if len(differences) < least:
        return ComparisonVerdict.INCONCLUSIVE
    if low >= allowed:
        return ComparisonVerdict.NOT_WORSE
    sure = high < allowed and np.count_nonzero(differences) >= LEAST_DIFFERENT
    return ComparisonVerdict.WORSE if sure else ComparisonVerdict.INCONCLUSIVE
