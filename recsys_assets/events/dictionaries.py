"""Merging of dictionaries: ids of many parts or days in code-point order, and several days as one window."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import Growing, Strings, read_only
from recsys_assets.compiled.runtime import compiled
from recsys_assets.compiled.string_sort import sort_strings
from recsys_assets.errors import InputError
from recsys_assets.events.events import ID_COLUMNS, CodedIds, Events, codes_of, events_of, strings_of
from recsys_assets.ingest.part_merge import ABSENT, Union, gather, translate, unite


class CodedColumn:
    """An id column built piece by piece. Each piece may be released once it was added."""

    def __init__(self, *, room: int = 0) -> None:
        self._ids = Union()
        self._codes = Growing(np.uint32, room=room)

    def add(self, codes: NDArray[np.uint32], ids: Strings) -> None:
        """Append rows: `codes` are positions in `ids`, or `ABSENT`."""
        self._codes.append(translate([codes], [self._ids.add(ids)]))

    def finish(self) -> CodedIds:
        """Return all rows with ascending ids, only those in use. The column must not be used afterwards.

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
        return CodedIds(codes, gather(ids, order))


def merge_coded(codes: Sequence[NDArray[np.uint32]], ids: Sequence[Strings]) -> CodedIds:
    """Return one column from many pieces of codes and ids."""
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
def _rename(
    codes: NDArray[np.uint32], new: NDArray[np.uint32], used: NDArray[np.bool_], result: NDArray[np.uint32]
) -> None:
    """Write the new code of each row into `result`, and mark it as used."""
    for row in range(len(codes)):
        code = codes[row]
        if code != ABSENT:
            code = new[code]
            used[code] = True
        result[row] = code


@compiled
def _apply(codes: NDArray[np.uint32], new: NDArray[np.uint32]) -> None:
    """Replace each code by its entry in `new`, in place."""
    for row in range(len(codes)):
        if codes[row] != ABSENT:
            codes[row] = new[codes[row]]


def merge_days(days: Sequence[Events]) -> Events:
    """Return the events of days, oldest first, as one: rows concatenated, codes of one common dictionary.

    Days are disjoint in time, so that canonical order holds across them. All must have the same columns, which the
    result has too. Raises `InputError` without any day.
    """
    if not days:
        raise InputError("no day to merge: a window needs at least one")
    if len(days) == 1:
        return days[0]
    columns: dict[str, NDArray[Any]] = {}
    ids: dict[str, Strings] = {}
    for name in days[0].codes.columns:
        if name in ID_COLUMNS:
            coded = _merge_column(name, days)
            columns[name], ids[name] = coded.codes, coded.ids
        else:
            columns[name] = np.concatenate([day.codes[name].to_physical().to_numpy() for day in days])
    return events_of(columns, ids)


def _merge_column(name: str, days: Sequence[Events]) -> CodedIds:
    """Return one id column of days, with ascending ids, only those in use.

    Ids are few compared with their rows. The code that each id becomes is computed first. Then the rows are read once,
    day by day.
    """
    united, maps = unite([strings_of(day.ids[name].to_arrow()) for day in days])
    order = sort_strings(united)
    new = np.empty(len(order), np.uint32)
    new[order] = np.arange(len(order), dtype=np.uint32)
    used = np.zeros(len(order), np.bool_)
    merged, end = np.empty(sum(len(day.codes) for day in days), np.uint32), 0
    for day, united_codes in zip(days, maps, strict=True):
        codes = read_only(codes_of(day.codes[name]))  # Polars copies a column of several chunks: one compiled form
        _rename(codes, new[united_codes], used, merged[end : end + len(codes)])
        end += len(codes)
    if not used.all():
        order = order[used]
        _apply(merged, (np.cumsum(used) - 1).astype(np.uint32))
    return CodedIds(merged, gather(united, order))
