"""Compiled scans of `cooc`: the score of a pair, and the best neighbours of the items of a block by count or score."""

import math
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from recsys_assets.compiled.arrays import Codes, Numbers
from recsys_assets.compiled.kernel_steps import Best, drain, offer
from recsys_assets.compiled.runtime import borrowed, compiled, inlined
from recsys_assets.kinds.paths import Baskets

SCALE: Final = 1_000_000
COUNT: Final = 0
COSINE: Final = 1
JACCARD: Final = 2


class Score(StrEnum):
    """Meaning of the value of a pair."""

    COUNT = "count"  # number of sessions with both items
    COSINE = "cosine"  # shared sessions divided by the square root of the product of both items' sessions
    JACCARD = "jaccard"  # shared sessions divided by the number of sessions with either item


CODES: Final = {Score.COUNT: COUNT, Score.COSINE: COSINE, Score.JACCARD: JACCARD}


@inlined
def similarity(score: int, shrinkage: int, shared: int, one: int, other: int) -> int:
    """Return the score of a pair, at least 1, in millionths unless it is a count.

    `shared` is the number of shared sessions, `one` and `other` are the numbers of sessions of each item. Every
    division rounds down and treats both items alike, so the score does not depend on their order. With `shrinkage` k
    the score is multiplied by shared / (shared + k), because few sessions are weak evidence. Cosine after Sarwar et
    al., "Item-based collaborative filtering", 2001. Shrinkage after Bell and Koren, "Improved neighborhood-based
    collaborative filtering", 2007.
    """
    if score == COUNT:
        value = shared
    elif score == COSINE:
        # The integer part is exact: below 10^12 a correctly rounded root cannot reach the next integer.
        value = int(math.sqrt((shared * SCALE // one) * (shared * SCALE // other)))
    else:
        value = shared * SCALE // (one + other - shared)
    if shrinkage > 0:
        share = shared * SCALE // (shared + shrinkage)
        value = value * share // SCALE
    return max(value, 1)


prefetch = borrowed("recsys_assets.compiled.intrinsics", "prefetch")
_AHEAD = 12  # baskets, about as many as a load from memory takes
_MAX_BASE = 2**31  # a block adds at most the number of its baskets, which is less than the number of events


class PairScratch(NamedTuple):
    """Working memory of one thread: a count per item, the items of the current row with enough counts, and the best.

    The counts of a row start at a base that is not below any count of earlier rows, so they need not be cleared.
    """

    base: Codes
    counts: Codes
    met: Codes
    best: Best


def new_thread_scratch(*, distinct_items: int, max_neighbors: int) -> PairScratch:
    """Return working memory for one thread that counts neighbours."""
    capacity = min(max_neighbors, max(distinct_items - 1, 1))
    best = Best(np.empty(capacity, np.int64), np.empty(capacity, np.uint32))
    # One element more than items: each count writes its item after the list, whether or not it belongs there.
    met = np.empty(distinct_items + 1, np.uint32)
    return PairScratch(np.zeros(1, np.uint32), np.zeros(distinct_items, np.uint32), met, best)


def best_neighbors(
    baskets: Baskets, block: Codes, *, min_support: int, scratch: PairScratch
) -> tuple[Numbers, Codes, Numbers]:
    """Return the number of neighbours per item of `block` (int64), and all neighbours (uint32) and counts (int64)."""
    capacity = len(block) * len(scratch.best.values)
    lengths = np.zeros(len(block), np.int64)
    members, counts = np.empty(capacity, np.uint32), np.empty(capacity, np.int64)
    if scratch.base[0] > _MAX_BASE:
        scratch.base.fill(0)
        scratch.counts.fill(0)
    used = _fill_block(baskets, block, min_support, scratch, lengths, members, counts)
    return lengths, members[:used].copy(), counts[:used].copy()


@compiled
def _fill_block(
    baskets: Baskets,
    block: Codes,
    min_support: int,
    scratch: PairScratch,
    lengths: Numbers,
    members: Codes,
    counts: Numbers,
) -> int:
    used = 0
    base = scratch.base[0]
    for row in range(len(block)):
        item = block[row]
        met = _meet(baskets, item, base, base + np.uint32(min_support), scratch)
        size = 0
        for other in scratch.met[:met]:
            if other != item:
                size = offer(scratch.best, size, int(scratch.counts[other] - base), other)
        drain(scratch.best, size, counts, members, used)
        lengths[row] = size
        used += size
        base += np.uint32(baskets.starts[item + 1] - baskets.starts[item])
    scratch.base[0] = base
    return used


@inlined
def _meet(baskets: Baskets, item: int, base: np.uint32, enough: np.uint32, scratch: PairScratch) -> int:
    """Count the items of all baskets of `item`. Returns the number of items, itself included, with enough counts."""
    met = 0
    last = len(baskets.begins) - 1
    for n in range(baskets.starts[item], baskets.starts[item + 1]):
        prefetch(baskets.items, np.int64(baskets.begins[min(n + _AHEAD, last)]))
        for other in baskets.items[baskets.begins[n] : baskets.ends[n]]:
            count = max(scratch.counts[other], base) + np.uint32(1)
            scratch.counts[other] = count
            # Branch-free: an item without enough counts is overwritten by the next one.
            scratch.met[met] = other
            met += count == enough
    return met


class Scoring(NamedTuple):
    """Scoring of pairs: weight of each basket by the position where it begins, and total weight by item."""

    score: int
    shrinkage: int
    min_support: int
    weights: Numbers
    totals: Numbers


class ScoredThreadScratch(NamedTuple):
    """Working memory of one thread: sessions and weight by item (zero between rows), the row's items, and the best."""

    counts: Codes
    sums: Numbers
    met: Codes
    best: Best


def new_scored_thread_scratch(*, distinct_items: int, max_neighbors: int) -> ScoredThreadScratch:
    """Return working memory for one thread that scores neighbours."""
    capacity = min(max_neighbors, max(distinct_items - 1, 1))
    best = Best(np.empty(capacity, np.int64), np.empty(capacity, np.uint32))
    counts, sums = np.zeros(distinct_items, np.uint32), np.zeros(distinct_items, np.int64)
    return ScoredThreadScratch(counts, sums, np.empty(distinct_items, np.uint32), best)


def best_scored(
    baskets: Baskets, block: Codes, scoring: Scoring, scratch: ScoredThreadScratch
) -> tuple[Numbers, Codes, Numbers]:
    """Return the number of neighbours per item of `block` (int64), and all neighbours (uint32) and scores (int64)."""
    capacity = len(block) * len(scratch.best.values)
    lengths = np.zeros(len(block), np.int64)
    members, scores = np.empty(capacity, np.uint32), np.empty(capacity, np.int64)
    used = _fill_scored(baskets, block, scoring, scratch, lengths, members, scores)
    return lengths, members[:used].copy(), scores[:used].copy()


def scoring_of(baskets: Baskets, weights: Numbers, *, score: int, shrinkage: int, min_support: int) -> Scoring:
    """Return the scoring of pairs from the `weights` of the baskets (int64), in the order in which they are stored."""
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
    scratch: ScoredThreadScratch,
    lengths: Numbers,
    members: Codes,
    scores: Numbers,
) -> int:
    used = 0
    for row in range(len(block)):
        size = _score_row(baskets, block[row], scoring, scratch)
        drain(scratch.best, size, scores, members, used)
        lengths[row] = size
        used += size
    return used


@compiled
def _score_row(baskets: Baskets, item: int, scoring: Scoring, scratch: ScoredThreadScratch) -> int:
    """Collect the items of all baskets of `item` and put the best of them on the heap. Returns their number."""
    met = 0
    for n in range(baskets.starts[item], baskets.starts[item + 1]):
        begin = baskets.begins[n]
        for other in baskets.items[begin : baskets.ends[n]]:
            if scratch.counts[other] == 0:
                scratch.met[met] = other
                met += 1
            scratch.counts[other] += np.uint32(1)
            scratch.sums[other] += scoring.weights[begin]
    size = 0
    own = int(scoring.totals[item])
    for other in scratch.met[:met]:
        if other != item and scratch.counts[other] >= scoring.min_support:
            shared, others = int(scratch.sums[other]), int(scoring.totals[other])
            value = similarity(scoring.score, scoring.shrinkage, shared, own, others)
            size = offer(scratch.best, size, value, other)
        scratch.counts[other] = np.uint32(0)
        scratch.sums[other] = 0
    return size
