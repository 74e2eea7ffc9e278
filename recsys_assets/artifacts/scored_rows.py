"""The compiled heart of cooc where pairs have another score than their count, or sessions do not weigh the same."""

from typing import NamedTuple

import numpy as np

from recsys_assets.artifacts.baskets import Baskets
from recsys_assets.artifacts.ranking import Best, drain, offer
from recsys_assets.artifacts.rows import Codes, Numbers
from recsys_assets.artifacts.similarity import similarity
from recsys_assets.raw.compiling import compiled


class Scoring(NamedTuple):
    """How pairs are scored: what each basket weighs, by where it begins, and all of each item's baskets."""

    score: int
    shrinkage: int
    min_support: int
    weights: Numbers
    totals: Numbers


class ScoredDesk(NamedTuple):
    """What one thread works on: sessions and weight by item, zero between two rows, this row's items, and its best."""

    counts: Codes
    sums: Numbers
    met: Codes
    best: Best


def new_scored_desk(*, distinct_items: int, max_neighbors: int) -> ScoredDesk:
    """Return room for one thread to score neighbours."""
    room = min(max_neighbors, max(distinct_items - 1, 1))
    best = Best(np.empty(room, np.int64), np.empty(room, np.uint32))
    counts, sums = np.zeros(distinct_items, np.uint32), np.zeros(distinct_items, np.int64)
    return ScoredDesk(counts, sums, np.empty(distinct_items, np.uint32), best)


def best_scored(baskets: Baskets, block: Codes, scoring: Scoring, desk: ScoredDesk) -> tuple[Numbers, Codes, Numbers]:
    """Return how many neighbours each item of `block` keeps, and all neighbours and scores one after the other."""
    room = len(block) * len(desk.best.values)
    lengths = np.zeros(len(block), np.int64)
    members, scores = np.empty(room, np.uint32), np.empty(room, np.int64)
    used = _fill_scored(baskets, block, scoring, desk, lengths, members, scores)
    return lengths, members[:used].copy(), scores[:used].copy()


def scoring_of(baskets: Baskets, weights: Numbers, *, score: int, shrinkage: int, min_support: int) -> Scoring:
    """Return how pairs are scored, from what each basket weighs, in the order in which they lie."""
    begins = np.unique(baskets.begins)
    by_place = np.zeros(len(baskets.items), np.int64)
    by_place[begins] = weights
    sums = np.zeros(len(baskets.begins) + 1, np.int64)
    np.cumsum(by_place[baskets.begins], out=sums[1:])
    return Scoring(score, shrinkage, min_support, by_place, np.diff(sums[baskets.starts]))


@compiled
def _fill_scored(
    baskets: Baskets,
    block: Codes,
    scoring: Scoring,
    desk: ScoredDesk,
    lengths: Numbers,
    members: Codes,
    scores: Numbers,
) -> int:
    used = 0
    for row in range(len(block)):
        size = _score_row(baskets, block[row], scoring, desk)
        drain(desk.best, size, scores, members, used)
        lengths[row] = size
        used += size
    return used


@compiled
def _score_row(baskets: Baskets, item: int, scoring: Scoring, desk: ScoredDesk) -> int:
    """Meet the items of all baskets of `item`, and put the best of them on the heap; return how many those are."""
    met = 0
    for n in range(baskets.starts[item], baskets.starts[item + 1]):
        begin = baskets.begins[n]
        for other in baskets.items[begin : baskets.ends[n]]:
            if desk.counts[other] == 0:
                desk.met[met] = other
                met += 1
            desk.counts[other] += np.uint32(1)
            desk.sums[other] += scoring.weights[begin]
    size = 0
    own = int(scoring.totals[item])
    for other in desk.met[:met]:
        if other != item and desk.counts[other] >= scoring.min_support:
            shared, others = int(desk.sums[other]), int(scoring.totals[other])
            value = similarity(scoring.score, scoring.shrinkage, shared, own, others)
            size = offer(desk.best, size, value, other)
        desk.counts[other] = np.uint32(0)
        desk.sums[other] = 0
    return size
