"""Events put together by session or user: counted and dealt out in two passes, without a sort; compiled."""

import numpy as np

from recsys_assets.compiled.runtime import compiled
from recsys_assets.compiled.strings import Codes, Numbers, read_only

NOBODY = -1  # in `places`: rows of this group are not wanted


def count_codes(codes: Codes, *, size: int, repeats: Codes | Numbers | None = None) -> Numbers:
    """Return how often each code below `size` stands in `codes`; others are passed over.

    `repeats`: as how many each row counts; one if there are none.
    """
    counts = np.zeros(size, np.int64)
    _count(read_only(codes), read_only(np.empty(0, np.uint32) if repeats is None else repeats), counts)
    return counts


def deal(groups: Codes, values: Codes, *, places: Numbers, size: int) -> Codes:
    """Return `values` group by group, those of one group in the order in which they stood.

    `places[group]` is where a group's first value goes, or `NOBODY`; it is used up. `size` is how many are wanted.
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
