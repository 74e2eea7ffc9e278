"""Compiled steps of kernels: grouping of events by session or user without a sort, and top-k selection.

The order of the selection is total: value descending, then code ascending, which is the order of ids.
"""

from typing import NamedTuple

import numpy as np

from recsys_assets.compiled.arrays import Codes, Numbers, read_only
from recsys_assets.compiled.runtime import compiled, inlined

UNWANTED = -1  # in `places`: drops the rows of this group


def count_codes(codes: Codes, *, size: int, repeats: Codes | Numbers | None = None) -> Numbers:
    """Return the number of occurrences of each code below `size` in `codes` (int64). Larger codes are ignored.

    `repeats` are the weights of the rows, 1 each if it is absent or empty.
    """
    counts = np.zeros(size, np.int64)
    _count(read_only(codes), read_only(np.empty(0, np.uint32) if repeats is None else repeats), counts)
    return counts


def deal(groups: Codes, values: Codes, *, places: Numbers, size: int) -> Codes:
    """Return `values` (uint32) by group. The values of a group keep their order.

    `places[group]` is the index of the group's first value in the result, or `UNWANTED`. It is modified. `size` is the
    length of the result. Groups beyond the end of `places` are dropped.
    """
    dealt = np.empty(size, np.uint32)
    _deal(read_only(groups), read_only(values), places, dealt)
    return dealt


@compiled
def _count(codes: Codes, repeats: Codes | Numbers, counts: Numbers) -> None:
    for row in range(len(codes)):
        if codes[row] < len(counts):
            counts[codes[row]] += repeats[row] if len(repeats) else 1


@compiled
def _deal(groups: Codes, values: Codes, places: Numbers, dealt: Codes) -> None:
    for row in range(len(groups)):
        group = groups[row]
        if group < len(places) and places[group] >= 0:
            dealt[places[group]] = values[row]
            places[group] += 1


class Best(NamedTuple):
    """A heap of the best entries so far, whose root is the worst of them. The length of the arrays is its capacity."""

    values: Numbers
    codes: Codes


@inlined
def offer(best: Best, size: int, value: int, code: int) -> int:
    """Keep an entry if it is among the best. Returns the new size of the heap."""
    if size < len(best.values):
        _rise(best, size, value, code)
        return size + 1
    if value > best.values[0] or (value == best.values[0] and code < best.codes[0]):
        _sink(best, size, value, code)
    return size


@inlined
def drain(best: Best, size: int, values: Numbers, codes: Codes, at: int) -> None:
    """Write the kept entries to `values` and `codes` from index `at` on, best first, and empty the heap."""
    for left in range(size - 1, -1, -1):
        values[at + left] = best.values[0]
        codes[at + left] = best.codes[0]
        _sink(best, left, best.values[left], best.codes[left])


@inlined
def _rise(best: Best, position: int, value: int, code: int) -> None:
    """Insert an entry at the free position at the end, and move better entries above it down."""
    while position > 0:
        parent = (position - 1) >> 1
        parent_value, parent_code = best.values[parent], best.codes[parent]
        if parent_value < value or (parent_value == value and parent_code >= code):
            break
        best.values[position], best.codes[position] = parent_value, parent_code
        position = parent
    best.values[position], best.codes[position] = value, code


@inlined
def _sink(best: Best, size: int, value: int, code: int) -> None:
    """Replace the root of a heap of `size` by an entry, and move worse entries below it up."""
    position = 0
    while 2 * position + 1 < size:
        child = 2 * position + 1
        other = child + 1
        if other < size and (
            best.values[other] < best.values[child]
            or (best.values[other] == best.values[child] and best.codes[other] > best.codes[child])
        ):
            child = other
        child_value, child_code = best.values[child], best.codes[child]
        if value < child_value or (value == child_value and code >= child_code):
            break
        best.values[position], best.codes[position] = child_value, child_code
        position = child
    best.values[position], best.codes[position] = value, code
