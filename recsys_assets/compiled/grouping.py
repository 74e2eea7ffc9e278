"""Grouping of events by session or user in two passes (count, distribute) without a sort. Compiled."""

import numpy as np

from recsys_assets.compiled.runtime import compiled
from recsys_assets.compiled.strings import Codes, Numbers, read_only

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
