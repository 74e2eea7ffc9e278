"""The rules that look at more than neighbouring rows, as marks for each member; compiled."""

import numpy as np
from numpy.typing import NDArray

from recsys_assets.artifacts.rows import Codes, Numbers, Rows
from recsys_assets.raw.compiling import compiled, inlined

Marks = NDArray[np.bool_]
NOWHERE = -1


def first_in_list(rows: Rows) -> Marks:
    """Tell for each member whether it did not stand in its list before."""
    marks = np.empty(len(rows.members), np.bool_)
    _mark_first(rows.offsets, rows.members, np.full(len(rows.member_ids), NOWHERE), marks)
    return marks


def answered(rows: Rows, keys: Codes, members: Codes, *, lists_cut: bool, max_members: int) -> Marks:
    """Tell for each member whether its own list tells the same pair with the same value, unless a cut took it there.

    `keys` and `members` are those of `rows` as codes of one dictionary. `lists_cut`: whether a member may have lost its
    list; lists of `max_members` may have lost what ranks behind their last. Lists must be in order: they are searched
    by halves.
    """
    size = int(max(keys.max(initial=0), members.max(initial=0))) + 1
    list_of = np.full(size, NOWHERE)
    list_of[keys] = np.arange(len(keys))
    marks = np.empty(len(members), np.bool_)
    _mark_answered(rows.offsets, keys, members, rows.values, list_of, lists_cut, max_members, marks)
    return marks


@compiled
def _mark_first(offsets: Numbers, members: Codes, seen_in: Numbers, marks: Marks) -> None:
    for n in range(len(offsets) - 1):
        for place in range(offsets[n], offsets[n + 1]):
            marks[place] = seen_in[members[place]] != n
            seen_in[members[place]] = n


@compiled
def _mark_answered(
    offsets: Numbers,
    keys: Codes,
    members: Codes,
    values: Numbers,
    list_of: Numbers,
    lists_cut: bool,  # noqa: FBT001 - compiled code takes arguments by position
    max_members: int,
    marks: Marks,
) -> None:
    for n in range(len(keys)):
        for place in range(offsets[n], offsets[n + 1]):
            other = list_of[members[place]]
            if other == NOWHERE:
                marks[place] = lists_cut
                continue
            stop = offsets[other + 1]
            at = _position(members, values, int(offsets[other]), int(stop), values[place], keys[n])
            found = at < stop and values[at] == values[place] and members[at] == keys[n]
            marks[place] = found or (at == stop and stop - offsets[other] >= max_members)


@inlined
def _position(members: Codes, values: Numbers, start: int, stop: int, value: np.int64, member: np.uint32) -> int:
    """Return where an entry stands or would stand in a list that is in order."""
    while start < stop:
        middle = (start + stop) >> 1
        if values[middle] > value or (values[middle] == value and members[middle] < member):
            start = middle + 1
        else:
            stop = middle
    return start
