"""Similarity of two items by the sessions that they share: whole millionths, so that no engine or order moves one."""

import math
from enum import StrEnum
from typing import Final

from recsys_assets.compiled.runtime import inlined

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
