"""Two releases on the same tasks: each recommender's numbers on both sides, and how sure their difference is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from recsys_assets.quality.scoring import Floats, Scores, score
from recsys_assets.quality.tasks import Tasks
from recsys_assets.serving.recommending import Recommender, recommenders
from recsys_assets.serving.snapshot import Snapshot

LEAST_DIFFERENT = 30  # answers that differ: resampling fewer gives no interval to refuse anybody by


class Standing(StrEnum):
    """How a candidate stands beside what is live."""

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
class Compared:
    """One recommender on both sides; `low` and `high` bound the candidate's nDCG minus live's."""

    name: str
    candidate: Scores
    live: Scores
    low: float
    high: float
    allowed: float  # the difference, 0 or negative, that is not yet worse
    standing: Standing

    @property
    def difference(self) -> float:
        """The candidate's nDCG minus live's, on the same tasks."""
        return self.candidate.ndcg - self.live.ndcg


def compare(
    candidate: Snapshot, live: Snapshot, tasks: Tasks, protocol: Protocol, *, go_on: Callable[[], None] = lambda: None
) -> list[Compared]:
    """Return each recommender that either side has, by name; a kind that one side lacks recommends nothing there.

    `go_on` is called every few hundred tasks, and may raise to end the comparison.
    """
    new, old = recommenders(candidate.lookups), recommenders(live.lookups)
    compared: list[Compared] = []
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


def _compared(name: str, candidate: Scores, live: Scores, protocol: Protocol) -> Compared:
    differences = candidate.gains - live.gains
    low, high = paired_interval(differences, rounds=protocol.rounds, seed=protocol.seed, level=protocol.level)
    allowed = -protocol.delta * live.ndcg
    standing = _standing(differences, low, high, allowed=allowed, least=protocol.min_samples)
    if candidate.ndcg == live.ndcg == 0:
        standing = Standing.INCONCLUSIVE  # neither side knew one next item: that both are as bad shows nothing
    return Compared(name, candidate, live, low, high, allowed, standing)


def _standing(differences: Floats, low: float, high: float, *, allowed: float, least: int) -> Standing:
    """Return worse only where the whole interval is, and not worse only where the whole interval is that."""
    if len(differences) < least:
        return Standing.INCONCLUSIVE
    if low >= allowed:
        return Standing.NOT_WORSE
    sure = high < allowed and np.count_nonzero(differences) >= LEAST_DIFFERENT
    return Standing.WORSE if sure else Standing.INCONCLUSIVE
