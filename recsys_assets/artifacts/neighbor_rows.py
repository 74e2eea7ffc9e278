"""The compiled heart of cooc: for a block of items, the best neighbours of each."""

from typing import NamedTuple

import numpy as np

from recsys_assets.artifacts.baskets import Baskets
from recsys_assets.artifacts.ranking import Best, drain, offer
from recsys_assets.artifacts.rows import Codes, Numbers
from recsys_assets.raw.compiling import borrowed, compiled, inlined

prefetch = borrowed("recsys_assets.artifacts.prefetching", "prefetch")
_AHEAD = 12  # baskets: about as long as memory takes to answer
_MAX_BASE = 2**31  # a block adds at most the number of its baskets, which is less than that of events


class Desk(NamedTuple):
    """What one thread works on: a count per item, the items of this row with enough of it, and the best of them.

    Counts of a row begin at a base that no count of a row before it passed, so that they need no clearing.
    """

    base: Codes
    counts: Codes
    met: Codes
    best: Best


def new_desk(*, distinct_items: int, max_neighbors: int) -> Desk:
    """Return room for one thread to count neighbours."""
    room = min(max_neighbors, max(distinct_items - 1, 1))
    best = Best(np.empty(room, np.int64), np.empty(room, np.uint32))
    # One place more than items: each count writes its item behind the list, whether it belongs there or not.
    met = np.empty(distinct_items + 1, np.uint32)
    return Desk(np.zeros(1, np.uint32), np.zeros(distinct_items, np.uint32), met, best)


def best_neighbors(baskets: Baskets, block: Codes, *, min_support: int, desk: Desk) -> tuple[Numbers, Codes, Numbers]:
    """Return how many neighbours each item of `block` keeps, and all neighbours and counts one after the other."""
    room = len(block) * len(desk.best.values)
    lengths = np.zeros(len(block), np.int64)
    members, counts = np.empty(room, np.uint32), np.empty(room, np.int64)
    if desk.base[0] > _MAX_BASE:
        desk.base.fill(0)
        desk.counts.fill(0)
    used = _fill_block(baskets, block, min_support, desk, lengths, members, counts)
    return lengths, members[:used].copy(), counts[:used].copy()


@compiled
def _fill_block(
    baskets: Baskets, block: Codes, min_support: int, desk: Desk, lengths: Numbers, members: Codes, counts: Numbers
) -> int:
    used = 0
    base = desk.base[0]
    for row in range(len(block)):
        item = block[row]
        met = _meet(baskets, item, base, base + np.uint32(min_support), desk)
        size = 0
        for other in desk.met[:met]:
            if other != item:
                size = offer(desk.best, size, int(desk.counts[other] - base), other)
        drain(desk.best, size, counts, members, used)
        lengths[row] = size
        used += size
        base += np.uint32(baskets.starts[item + 1] - baskets.starts[item])
    desk.base[0] = base
    return used


@inlined
def _meet(baskets: Baskets, item: int, base: np.uint32, enough: np.uint32, desk: Desk) -> int:
    """Count the items of all baskets of `item`; return how many of them, itself included, were met often enough."""
    met = 0
    last = len(baskets.begins) - 1
    for n in range(baskets.starts[item], baskets.starts[item + 1]):
        prefetch(baskets.items, np.int64(baskets.begins[min(n + _AHEAD, last)]))
        for other in baskets.items[baskets.begins[n] : baskets.ends[n]]:
            count = max(desk.counts[other], base) + np.uint32(1)
            desk.counts[other] = count
            # Without a branch: the next item that was met often enough takes the place of one that was not.
            desk.met[met] = other
            met += count == enough
    return met
