"""The total order of canonical rows: by instant, and equal instants by all other columns, absent first."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.runtime import compiled, inlined

Rows: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.uint32]
# user, session, rank, item, request, event: what decides when instants are equal, in this order.
Ties: TypeAlias = tuple[Codes, Codes, Rows, Codes, Codes, Codes]
TIE_COLUMNS = ("user_id", "session_id", "rank", "item_id", "request_id", "event")

_SMALL_RUN = 16


def sort_rows(columns: dict[str, NDArray[Any]]) -> None:
    """Put all columns into canonical order, one after the other, so that only one column exists twice at a time.

    Codes must compare as the ids do; `part.ABSENT` comes first.
    """
    order = np.argsort(columns["ts"])
    for name in columns:
        columns[name] = columns[name][order]
    spare = np.empty(_longest_run(columns["ts"]), np.int64)
    _sort_equal_instants(columns["ts"], _ties(columns), order, spare)
    moved = np.flatnonzero(order != np.arange(len(order)))  # few or none: most instants are like no other
    source = order[moved]
    del order
    for name in TIE_COLUMNS:
        columns[name][moved] = columns[name][source]


def ascending_rows(columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return which rows come after the one before in canonical order; the first does."""
    ascending = np.empty(len(columns["ts"]), np.bool_)
    _mark_ascending(columns["ts"], _ties(columns), ascending)
    return ascending


def distinct_rows(columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return, for columns in canonical order, which rows differ from the one before in any column."""
    keep = np.empty(len(columns["ts"]), np.bool_)
    _mark_distinct(columns["ts"], _ties(columns), keep)
    return keep


def _ties(columns: dict[str, NDArray[Any]]) -> Ties:
    user, session, rank, item, request, event = (columns[name] for name in TIE_COLUMNS)
    return user, session, rank, item, request, event


@compiled
def _longest_run(ts: Rows) -> int:
    longest = run = 1
    for row in range(1, len(ts)):
        run = run + 1 if ts[row] == ts[row - 1] else 1
        longest = max(longest, run)
    return longest


@compiled
def _sort_equal_instants(ts: Rows, ties: Ties, order: Rows, spare: Rows) -> None:
    """Write to `order` where the row for each place stands, for rows that are sorted by instant alone."""
    first = 0
    while first < len(ts):
        end = first + 1
        while end < len(ts) and ts[end] == ts[first]:
            end += 1
        for row in range(first, end):
            order[row] = row
        if end - first > 1:
            _sort_run(ties, order, spare, first, end)
        first = end


@inlined
def _sort_run(ties: Ties, order: Rows, spare: Rows, first: int, end: int) -> None:
    for low in range(first, end, _SMALL_RUN):
        _insert(ties, order, low, min(low + _SMALL_RUN, end))
    width = _SMALL_RUN
    while width < end - first:
        for low in range(first, end - width, 2 * width):
            _merge(ties, order, spare, low, low + width, min(low + 2 * width, end))
        width *= 2


@inlined
def _insert(ties: Ties, order: Rows, low: int, high: int) -> None:
    for index in range(low + 1, high):
        row = order[index]
        place = index
        while place > low and _comes_before(ties, row, order[place - 1]):
            order[place] = order[place - 1]
            place -= 1
        order[place] = row


@inlined
def _merge(ties: Ties, order: Rows, spare: Rows, low: int, middle: int, high: int) -> None:
    """Merge two sorted neighbours, `order[low:middle]` and `order[middle:high]`."""
    size = middle - low
    for index in range(size):
        spare[index] = order[low + index]
    left, right, place = 0, middle, low
    while left < size:
        if right < high and _comes_before(ties, order[right], spare[left]):
            order[place] = order[right]
            right += 1
        else:
            order[place] = spare[left]
            left += 1
        place += 1


@inlined
def _comes_before(ties: Ties, row: int, other: int) -> np.bool_:
    users, sessions, ranks, items, requests, events = ties
    if users[row] != users[other]:
        return _rank_of(users[row]) < _rank_of(users[other])
    if sessions[row] != sessions[other]:
        return sessions[row] < sessions[other]
    if ranks[row] != ranks[other]:
        return ranks[row] < ranks[other]
    if items[row] != items[other]:
        return items[row] < items[other]
    if requests[row] != requests[other]:
        return _rank_of(requests[row]) < _rank_of(requests[other])
    return _rank_of(events[row]) < _rank_of(events[other])


@inlined
def _rank_of(code: int) -> np.uint32:
    """Return a number that puts absent, the highest code, first: it wraps round to 0."""
    return np.uint32(code + 1)


@compiled
def _mark_distinct(ts: Rows, ties: Ties, keep: NDArray[np.bool_]) -> None:
    users, sessions, ranks, items, requests, events = ties
    for row in range(len(ts)):
        before = row - 1
        keep[row] = (
            row == 0
            or ts[row] != ts[before]
            or items[row] != items[before]
            or sessions[row] != sessions[before]
            or users[row] != users[before]
            or ranks[row] != ranks[before]
            or requests[row] != requests[before]
            or events[row] != events[before]
        )


@compiled
def _mark_ascending(ts: Rows, ties: Ties, ascending: NDArray[np.bool_]) -> None:
    for row in range(len(ts)):
        before = row - 1
        later = row == 0 or ts[before] < ts[row]
        ascending[row] = later or (ts[before] == ts[row] and _comes_before(ties, before, row))
