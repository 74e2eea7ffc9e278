"""How alike two items are, by the sessions that they share: whole millionths, so that no engine or order moves one."""

import math
from enum import StrEnum
from typing import Final

from recsys_assets.raw.compiling import inlined

SCALE: Final = 1_000_000


class Score(StrEnum):
    """What a pair's number says."""

    COUNT = "count"  # in how many sessions both stand
    COSINE = "cosine"  # the same, over the root of the product of both items' sessions
    JACCARD = "jaccard"  # the same, over the sessions of either
    LIFT = "lift"  # the same, over what two items met by chance would share


COUNT: Final = 0
COSINE: Final = 1
JACCARD: Final = 2
CODES: Final = {Score.COUNT: COUNT, Score.COSINE: COSINE, Score.JACCARD: JACCARD, Score.LIFT: 3}


@inlined
def similarity(score: int, shrinkage: int, shared: int, one: int, other: int, total: int) -> int:
    """Return the score of a pair, at least 1: of `total` sessions, `shared` of the `one` and `other` of each item.

    Every division rounds down and treats both items alike, so a pair has one score. With `shrinkage` k the score is
    multiplied by shared / (shared + k): few sessions prove little. Cosine after Sarwar et al., "Item-based
    collaborative filtering", 2001; lift after Brin et al., "Dynamic itemset counting", 1997; shrinkage after Bell and
    Koren, "Improved neighborhood-based collaborative filtering", 2007.
    """
    if score == COUNT:
        value = shared
    elif score == COSINE:
        value = _whole_root((shared * SCALE // one) * (shared * SCALE // other))
    elif score == JACCARD:
        value = shared * SCALE // (one + other - shared)
    else:
        value = shared * SCALE // max(one, other) * total // min(one, other)
    if shrinkage > 0:
        share = shared * SCALE // (shared + shrinkage)
        value = value // SCALE * share + value % SCALE * share // SCALE  # in two parts: the product could overflow
    return max(value, 1)


@inlined
def _whole_root(square: int) -> int:
    """Return the root, rounded down; the processor's is exact to a unit, and the comparison of integers decides."""
    root = int(math.sqrt(square))
    while root * root > square:
        root -= 1
    while (root + 1) * (root + 1) <= square:
        root += 1
    return root
