"""How many pairs of key and member two artifacts share: each list walked once beside its like; compiled."""

import numpy as np

from recsys_assets.artifacts.rows import Codes, Numbers
from recsys_assets.raw.compiling import compiled

_STATES = 2  # of a member in a list: told by the first side, and by the second too


def count_pairs(
    first: tuple[Numbers, Codes], second: tuple[Numbers, Codes], shared: tuple[Numbers, Numbers]
) -> Numbers:
    """Return how many distinct pairs both sides have, and how many there are in all, over the shared lists.

    Of each side: offsets and members, as codes of one dictionary. `shared[0][n]` is a list of the first side and
    `shared[1][n]` the one of the second under the same key.
    """
    size = int(max(first[1].max(initial=0), second[1].max(initial=0))) + 1
    counts = np.zeros(2, np.int64)
    _count(first, second, shared, np.zeros(size, np.int64), counts)
    return counts


@compiled
def _count(
    first: tuple[Numbers, Codes],
    second: tuple[Numbers, Codes],
    shared: tuple[Numbers, Numbers],
    marks: Numbers,
    counts: Numbers,
) -> None:
    offsets, members = first
    other_offsets, other_members = second
    kept = told = 0
    for n in range(len(shared[0])):
        met = _STATES * n + 1  # higher than every mark of the lists before
        here, there = shared[0][n], shared[1][n]
        for place in range(offsets[here], offsets[here + 1]):
            if marks[members[place]] < met:
                marks[members[place]] = met
                told += 1
        for place in range(other_offsets[there], other_offsets[there + 1]):
            mark = marks[other_members[place]]
            told += 1 if mark < met else 0
            kept += 1 if mark == met else 0
            marks[other_members[place]] = met + 1
    counts[0] = kept
    counts[1] = told
