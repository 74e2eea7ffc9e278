"""Dictionaries made one: the ids of many parts or days, once each in code-point order, and the codes that follow."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys_assets.canonical.columns import Coded
from recsys_assets.canonical.sorting import sort_strings
from recsys_assets.raw.compiling import compiled
from recsys_assets.raw.merging import gather, translate, unite
from recsys_assets.raw.part import ABSENT, Strings


def merge_coded(codes: Sequence[NDArray[np.uint32]], ids: Sequence[Strings]) -> Coded:
    """Return one column from many: rows in their order, ids ascending and only those that a row uses.

    `codes[n]` are positions in `ids[n]`, or `ABSENT`. So equal rows give equal codes, however the rows were divided.
    """
    united, maps = unite(ids)
    column = translate(codes, maps)
    used = np.zeros(len(united), np.bool_)
    _mark_used(column, used)
    if not used.all():
        united = gather(united, np.flatnonzero(used))
        _apply(column, (np.cumsum(used) - 1).astype(np.uint32))
    order = sort_strings(united)
    new = np.empty(len(order), np.uint32)
    new[order] = np.arange(len(order), dtype=np.uint32)
    _apply(column, new)
    return Coded(column, gather(united, order))


@compiled
def _mark_used(codes: NDArray[np.uint32], used: NDArray[np.bool_]) -> None:
    for row in range(len(codes)):
        if codes[row] != ABSENT:
            used[codes[row]] = True


@compiled
def _apply(codes: NDArray[np.uint32], new: NDArray[np.uint32]) -> None:
    """Replace each code by what `new` says."""
    for row in range(len(codes)):
        if codes[row] != ABSENT:
            codes[row] = new[codes[row]]
