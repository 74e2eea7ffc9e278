"""Dictionaries made one: the ids of many parts or days, once each in code-point order, and the codes that follow."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.growable import Growing
from recsys_assets.compiled.runtime import compiled
from recsys_assets.compiled.string_sort import sort_strings
from recsys_assets.compiled.strings import Strings
from recsys_assets.events.columns import Coded
from recsys_assets.ingest.part import ABSENT
from recsys_assets.ingest.part_merge import Union, gather, translate


class CodedColumn:
    """One id column, taken piece by piece: what comes in may be let go of at once."""

    def __init__(self, *, room: int = 0) -> None:
        self._ids = Union()
        self._codes = Growing(np.uint32, room=room)

    def add(self, codes: NDArray[np.uint32], ids: Strings) -> None:
        """Take rows behind those that are there: `codes` are positions in `ids`, or `ABSENT`."""
        self._codes.append(translate([codes], [self._ids.add(ids)]))

    def finish(self) -> Coded:
        """Return all rows, ids ascending and only those that a row uses; this must not be used any more.

        So equal rows give equal codes, however they were divided.
        """
        codes, ids = self._codes.array(), self._ids.strings()
        used = np.zeros(len(ids), np.bool_)
        _mark_used(codes, used)
        if not used.all():
            ids = gather(ids, np.flatnonzero(used))
            _apply(codes, (np.cumsum(used) - 1).astype(np.uint32))
        order = sort_strings(ids)
        new = np.empty(len(order), np.uint32)
        new[order] = np.arange(len(order), dtype=np.uint32)
        _apply(codes, new)
        return Coded(codes, gather(ids, order))


def merge_coded(codes: Sequence[NDArray[np.uint32]], ids: Sequence[Strings]) -> Coded:
    """Return one column from many pieces."""
    column = CodedColumn()
    for piece, strings in zip(codes, ids, strict=True):
        column.add(piece, strings)
    return column.finish()


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
