"""The total order of canonical rows: by instant, and equal instants by all other columns, absent first."""

from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.compiled.runtime import compiled, inlined

Rows: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.uint32]
# user, session, rank, item, request, event: what decides when instants are equal, in this order.
Ties: TypeAlias = tuple[Codes, Codes, Rows, Codes, Codes, Codes]
TIE_COLUMNS = ("user_id", "session_id", "rank", "item_id", "request_id", "event")

_ABSENT_FIRST = {"user_id", "request_id", "event"}


def sort_rows(columns: dict[str, NDArray[Any]]) -> None:
    """Put all columns into canonical order, one after the other, so that only one column exists twice at a time.

    Codes must compare as the ids do; `part.ABSENT` comes first.
    """
    keys = pl.DataFrame({name: _sort_key(columns, name) for name in ("ts", *TIE_COLUMNS)})
    order = keys.select(pl.arg_sort_by(keys.columns)).to_series().to_numpy()
    del keys
    for name in columns:
        columns[name] = columns[name][order]


def _sort_key(columns: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    return columns[name] + np.uint32(1) if name in _ABSENT_FIRST else columns[name]  # absent, the highest, becomes 0


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
