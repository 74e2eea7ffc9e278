"""The compiled heart of cooc: for a block of items, the best neighbours of each."""

import numpy as np
from numba import njit

from recsys_assets.artifacts.rows import Codes, Numbers

_LOW = np.uint64(0xFFFFFFFF)


def best_neighbors(  # noqa: PLR0913 - arrays of one compiled call
    basket_items: Codes,
    basket_offsets: Numbers,
    item_sessions: Codes,
    item_offsets: Numbers,
    block: Codes,
    min_support: int,
    max_neighbors: int,
) -> tuple[Numbers, Codes, Numbers]:
    """Return per item of `block` how many neighbours it keeps, and all neighbours and counts one after the other."""
    room = min(max_neighbors, max(len(item_offsets) - 2, 1))
    lengths = np.zeros(len(block), np.int64)
    packed = np.zeros(len(block) * room, np.uint64)
    used = _fill(
        basket_items,
        basket_offsets,
        item_sessions,
        item_offsets,
        block,
        min_support,
        room,
        lengths,
        packed,
    )
    kept = packed[:used]
    counts = (_LOW - (kept >> np.uint64(32))).astype(np.int64)
    return lengths, (kept & _LOW).astype(np.uint32), counts


@njit(cache=True, nogil=True)
def _fill(basket_items, basket_offsets, item_sessions, item_offsets, block, min_support, room, lengths, packed):  # noqa: ANN001, ANN202, PLR0913, PLR0917, C901  # pyright: ignore[reportMissingParameterType]
    """Write each item's best neighbours as (inverted count, code), which sorts as count descending, code ascending."""
    counts = np.zeros(len(item_offsets) - 1, np.uint32)
    touched = np.empty(len(item_offsets) - 1, np.uint32)
    used = 0
    for row in range(len(block)):
        item = block[row]
        met = 0
        for at in range(item_offsets[item], item_offsets[item + 1]):
            session = item_sessions[at]
            for place in range(basket_offsets[session], basket_offsets[session + 1]):
                other = basket_items[place]
                if counts[other] == 0:
                    touched[met] = other
                    met += 1
                counts[other] += 1
        counts[item] = 0  # an item is no neighbour of itself
        heap = packed[used : used + room]
        size = 0
        for n in range(met):
            other = touched[n]
            count = counts[other]
            counts[other] = 0
            if count < min_support or count == 0:
                continue
            key = (np.uint64(0xFFFFFFFF - count) << np.uint64(32)) | np.uint64(other)
            if size < room:
                size = _push(heap, size, key)
            elif key < heap[0]:
                _replace_worst(heap, size, key)
        heap[:size].sort()
        lengths[row] = size
        used += size
    return used


@njit(cache=True, nogil=True)
def _push(heap, size, key):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    """Add a key to a heap whose root is the worst kept; return the new size."""
    at = size
    while at > 0 and heap[(at - 1) >> 1] < key:
        heap[at] = heap[(at - 1) >> 1]
        at = (at - 1) >> 1
    heap[at] = key
    return size + 1


@njit(cache=True, nogil=True)
def _replace_worst(heap, size, key):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    """Put a better key in the place of the worst kept."""
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key
