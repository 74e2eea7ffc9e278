"""Scores of recommendations against the next items, and comparisons of two releases on the same tasks."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from heapq import nlargest
from itertools import islice
from typing import TypeAlias

import msgspec
import numpy as np
from msgspec.structs import replace

from recsys_assets.quality.tasks import Task, Tasks
from recsys_assets.serving.recommending import NEAREST, Recommender, Weights, recommenders
from recsys_assets.serving.snapshot import Snapshot

Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
_LOOK_UP = 0xFF  # `go_on` is called once per this many tasks (mask)
LEAST_DIFFERENT = 30  # fewer differing tasks give no reliable bootstrap interval


class Scores(msgspec.Struct, frozen=True, eq=False):
    """Scores of one recommender: one number per task, the mean over its next items.

    Ties are averaged over all orders of items with equal weight.
    """

    hits: Floats  # 1 if the next item was in the first k
    reciprocals: Floats  # 1 / rank, 0 beyond k
    gains: Floats  # nDCG with one relevant item: 1 / log2(rank + 1)
    answered: float  # share of tasks with any recommendation
    coverage: float  # share of held-out items recommended at least once, whatever the order of ties

    @property
    def hit_rate(self) -> float:
        """Share of tasks with the next item in the first k."""
        return _mean(self.hits)

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank. Missing items count 0."""
        return _mean(self.reciprocals)

    @property
    def ndcg(self) -> float:
        """Mean nDCG at k over all tasks."""
        return _mean(self.gains)


def score(recommender: Recommender, tasks: Tasks, *, k: int, go_on: Callable[[], None] = lambda: None) -> Scores:
    """Score the ranks of each task's next items in the first `k`. `go_on` is called regularly and may raise."""
    cached = replace(recommender, beside=cache(recommender.beside))
    popular, sums = _Popular(recommender.fill()), _cumulative_metrics(k)
    numbers, shown, answered = np.zeros((3, len(tasks.tasks))), set[str](), 0
    for number, task in enumerate(tasks.tasks):
        if number & _LOOK_UP == 0:
            go_on()
        answer = _RankedAnswer(cached, popular, task)
        for target in task.targets:
            above, equal = answer.rank(target, k)
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
    """Sorted numbers with counts of those above, or equal to, a given number."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = sorted(numbers)

    def above(self, number: int) -> int:
        return len(self.numbers) - bisect_right(self.numbers, number)

    def equal(self, number: int) -> int:
        return bisect_right(self.numbers, number) - bisect_left(self.numbers, number)


class _Popular:
    """Popularity list that fills short answers: counts by item, and sorted counts."""

    def __init__(self, fill: Iterable[tuple[str, int]]) -> None:
        self.counts = dict(fill)
        self.sorted = _Sorted(self.counts.values())


class _RankedAnswer:
    """Answer of a recommender to one task: weights of candidate items, and ranks of targets.

    In a session with a single timestamp, every item is a target with the others as context. The weights are summed once
    over all items. The contribution of a target to others is subtracted when that target is ranked.
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
        """Whether any item is recommended."""
        return bool(self._free) or any(
            item not in self._seen for item in islice(self._popular.counts, len(self._seen) + 1)
        )

    def rank(self, target: str, k: int) -> tuple[int, int]:
        """Return the number of items above a target, and of those with its weight, itself included.

        Returns (k, 1) if the target is not in the first `k`.
        """
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
        removed = [other for other, less in own.items() if self._free.get(other) == less * NEAREST]
        return self._rank_in_fill(target, removed, len(self._free) - len(removed), k)

    def _rank_in_fill(self, target: str, removed: Sequence[str], before: int, k: int) -> tuple[int, int]:
        counts = self._popular.counts
        count = counts.get(target)
        if count is None or before >= k:
            return k, 1
        if self._taken is None:
            self._taken = _Sorted(counts[item] for item in {*self._seen, *self._free} if item in counts)
        restored = [counts[item] for item in removed if item in counts]
        above = self._popular.sorted.above(count) - self._taken.above(count) + sum(other > count for other in restored)
        equal = self._popular.sorted.equal(count) - self._taken.equal(count) + sum(other == count for other in restored)
        return before + above, equal + self._together

    def surely_shown(self, k: int) -> list[str]:
        """Return the items in the first `k` for every order of ties."""
        best = _surely_first(self._free, k)
        if len(self._free) >= k:
            return best
        counts = self._popular.counts
        rest = (item for item in counts if item not in self._seen and item not in self._free)
        left = k - len(self._free)
        return [*best, *_surely_first({item: counts[item] for item in islice(rest, left + 1)}, left)]


def _surely_first(weights: Weights, k: int) -> list[str]:
    """Return the items in the first `k` for every order of ties."""
    if len(weights) <= k:
        return [*weights]
    bound = nlargest(k + 1, weights.values())[-1]
    return [item for item, weight in weights.items() if weight > bound]


def _cumulative_metrics(k: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return the cumulative sums of hits, reciprocal ranks and gains over the first 0 to k ranks, shape (3, k + 1)."""
    ranks = np.arange(1, k + 1)
    return np.cumsum([np.zeros(3), *zip(np.ones(k), 1 / ranks, 1 / np.log2(ranks + 1), strict=True)], axis=0).T


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


class ComparisonVerdict(StrEnum):
    """Verdict on a candidate compared with the live release."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Protocol:
    """Parameters of a comparison: list length, allowed loss, minimum tasks, and the bootstrap."""

    k: int = 20
    delta: float = 0.2  # allowed loss, as a share of the live nDCG
    min_samples: int = 200
    rounds: int = 1000
    seed: int = 1
    level: float = 0.99  # level of the interval, two-sided


class ComparedScores(msgspec.Struct, frozen=True, eq=False):
    """One recommender of both releases. `low` and `high` bound the candidate's nDCG minus the live nDCG."""

    name: str
    candidate: Scores
    live: Scores
    low: float
    high: float
    allowed: float  # tolerated difference, 0 or negative
    verdict: ComparisonVerdict

    @property
    def difference(self) -> float:
        """Candidate nDCG minus live nDCG, on the same tasks."""
        return self.candidate.ndcg - self.live.ndcg


def compare(
    candidate: Snapshot, live: Snapshot, tasks: Tasks, protocol: Protocol, *, go_on: Callable[[], None] = lambda: None
) -> list[ComparedScores]:
    """Compare each recommender that either release has, by name. A missing one recommends nothing.

    `go_on` is called every few hundred tasks, and may raise to end the comparison.
    """
    new, old = recommenders(candidate.lookups), recommenders(live.lookups)
    compared: list[ComparedScores] = []
    for name in sorted({*new, *old}):
        sides = [score(side.get(name, Recommender()), tasks, k=protocol.k, go_on=go_on) for side in (new, old)]
        compared.append(_compared(name, sides[0], sides[1], protocol))
    return compared


def paired_interval(differences: Floats, *, rounds: int, seed: int, level: float) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of paired differences (Efron 1979). It depends on `seed`.

    Without differences it is (-inf, inf).
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
        verdict = ComparisonVerdict.INCONCLUSIVE  # neither release contains any next item: no evidence
    return ComparedScores(name, candidate, live, low, high, allowed, verdict)


def _judge(differences: Floats, low: float, high: float, *, allowed: float, least: int) -> ComparisonVerdict:
    """Return WORSE or NOT_WORSE only if the whole interval is on one side of `allowed`."""
    if len(differences) < least:
        return ComparisonVerdict.INCONCLUSIVE
    if low >= allowed:
        return ComparisonVerdict.NOT_WORSE
    sure = high < allowed and np.count_nonzero(differences) >= LEAST_DIFFERENT
    return ComparisonVerdict.WORSE if sure else ComparisonVerdict.INCONCLUSIVE
