"""Compiled scans of cooc: the score of a pair, and the best neighbours of each item of a block by count or by it."""

import math
from enum import StrEnum
from typing import Final, NamedTuple

import numpy as np

from recsys_assets.compiled.ranking import Best, drain, offer
from recsys_assets.compiled.runtime import borrowed, compiled, inlined
from recsys_assets.compiled.strings import Codes, Numbers
from recsys_assets.kinds.paths import Baskets

SCALE: Final = 1_000_000
COUNT: Final = 0
COSINE: Final = 1
JACCARD: Final = 2


class Score(StrEnum):
    """What a pair's number says."""

    COUNT = "count"  # in how many sessions both stand
    COSINE = "cosine"  # the same, over the root of the product of both items' sessions
    JACCARD = "jaccard"  # the same, over the sessions of either


CODES: Final = {Score.COUNT: COUNT, Score.COSINE: COSINE, Score.JACCARD: JACCARD}


@inlined
def similarity(score: int, shrinkage: int, shared: int, one: int, other: int) -> int:
    """Return the score of a pair, at least 1: `shared` sessions of the `one` and the `other` that each item has.

    Every division rounds down and treats both items alike, so a pair has one score. With `shrinkage` k the score is
    multiplied by shared / (shared + k): few sessions prove little. Cosine after Sarwar et al., "Item-based
    collaborative filtering", 2001; shrinkage after Bell and Koren, "Improved neighborhood-based collaborative
    filtering", 2007.
    """
    if score == COUNT:
        value = shared
    elif score == COSINE:
        # The whole part is exact: below 10^12 a correctly rounded root cannot reach the next whole number.
        value = int(math.sqrt((shared * SCALE // one) * (shared * SCALE // other)))
    else:
        value = shared * SCALE // (one + other - shared)
    if shrinkage > 0:
        share = shared * SCALE // (shared + shrinkage)
        value = value * share // SCALE
    return max(value, 1)


prefetch = borrowed("recsys_assets.compiled.prefetch", "prefetch")
_AHEAD = 12  # baskets: about as long as memory takes to answer
_MAX_BASE = 2**31  # a block adds at most the number of its baskets, which is less than that of events


class PairScratch(NamedTuple):
    """What one thread works on: a count per item, the items of this row with enough of it, and the best of them.

    Counts of a row begin at a base that no count of a row before it passed, so that they need no clearing.
    """

    base: Codes
    counts: Codes
    met: Codes
    best: Best


def new_thread_scratch(*, distinct_items: int, max_neighbors: int) -> PairScratch:
    """Return room for one thread to count neighbours."""
    room = min(max_neighbors, max(distinct_items - 1, 1))
    best = Best(np.empty(room, np.int64), np.empty(room, np.uint32))
    # One place more than items: each count writes its item behind the list, whether it belongs there or not.
    met = np.empty(distinct_items + 1, np.uint32)
    return PairScratch(np.zeros(1, np.uint32), np.zeros(distinct_items, np.uint32), met, best)


def best_neighbors(
    baskets: Baskets, block: Codes, *, min_support: int, scratch: PairScratch
) -> tuple[Numbers, Codes, Numbers]:
    """Return how many neighbours each item of `block` keeps, and all neighbours and counts one after the other."""
    room = len(block) * len(scratch.best.values)
    lengths = np.zeros(len(block), np.int64)
    members, counts = np.empty(room, np.uint32), np.empty(room, np.int64)
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
    """Count the items of all baskets of `item`; return how many of them, itself included, were met often enough."""
    met = 0
    last = len(baskets.begins) - 1
    for n in range(baskets.starts[item], baskets.starts[item + 1]):
        prefetch(baskets.items, np.int64(baskets.begins[min(n + _AHEAD, last)]))
        for other in baskets.items[baskets.begins[n] : baskets.ends[n]]:
            count = max(scratch.counts[other], base) + np.uint32(1)
            scratch.counts[other] = count
            # Without a branch: the next item that was met often enough takes the place of one that was not.
            scratch.met[met] = other
            met += count == enough
    return met


class Scoring(NamedTuple):
    """How pairs are scored: what each basket weighs, by where it begins, and all of each item's baskets."""

    score: int
    shrinkage: int
    min_support: int
    weights: Numbers
    totals: Numbers


class ScoredThreadScratch(NamedTuple):
    """What one thread works on: sessions and weight by item, zero between two rows, this row's items, and its best."""

    counts: Codes
    sums: Numbers
    met: Codes
    best: Best


def new_scored_thread_scratch(*, distinct_items: int, max_neighbors: int) -> ScoredThreadScratch:
    """Return room for one thread to score neighbours."""
    room = min(max_neighbors, max(distinct_items - 1, 1))
    best = Best(np.empty(room, np.int64), np.empty(room, np.uint32))
    counts, sums = np.zeros(distinct_items, np.uint32), np.zeros(distinct_items, np.int64)
    return ScoredThreadScratch(counts, sums, np.empty(distinct_items, np.uint32), best)


def best_scored(
    baskets: Baskets, block: Codes, scoring: Scoring, scratch: ScoredThreadScratch
) -> tuple[Numbers, Codes, Numbers]:
    """Return how many neighbours each item of `block` keeps, and all neighbours and scores one after the other."""
    room = len(block) * len(scratch.best.values)
    lengths = np.zeros(len(block), np.int64)
    members, scores = np.empty(room, np.uint32), np.empty(room, np.int64)
    used = _fill_scored(baskets, block, scoring, scratch, lengths, members, scores)
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
    """Meet the items of all baskets of `item`, and put the best of them on the heap; return how many those are."""
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
