"""Canonical events from parts: one row per distinct event, in a total order, with sessions inferred from gaps."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import Growing, Strings
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.errors import InputError
from recsys_assets.events.dictionaries import CodedColumn, merge_coded
from recsys_assets.events.events import (
    ID_COLUMNS,
    SCHEMA,
    CodedIds,
    Events,
    arrow_strings,
    events_of,
    give_back_memory,
    strings_of,
)
from recsys_assets.ingest.part_merge import ABSENT, Part

Rows: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.uint32]
# user, session, rank, item, request, event: the order of events with equal timestamps.
Ties: TypeAlias = tuple[Codes, Codes, Rows, Codes, Codes, Codes]
TIE_COLUMNS = ("user_id", "session_id", "rank", "item_id", "request_id", "event")

_ABSENT_FIRST = {"user_id", "request_id", "event"}
_NANOSECONDS_A_MINUTE = 60_000_000_000
_NAME = "%Y-%m-%dT%H:%M:%S%.9fZ"  # fixed length, so that two users never share a session


def sort_rows(columns: dict[str, NDArray[Any]]) -> None:
    """Sort all columns into canonical order in place, one at a time, so that only one column is copied at a time.

    Codes must compare like the ids. `ABSENT` comes first.
    """
    keys = pl.DataFrame({name: _sort_key(columns, name) for name in ("ts", *TIE_COLUMNS)})
    rows = keys.select(pl.arg_sort_by(keys.columns)).to_series()
    del keys
    # As indices of numpy, which would convert others for each column.
    order = rows.to_numpy().astype(np.intp)
    del rows
    for name in columns:
        columns[name] = columns[name][order]


def _sort_key(columns: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    return (
        columns[name] + np.uint32(1) if name in _ABSENT_FIRST else columns[name]
    )  # ABSENT, the highest code, wraps to 0


def ascending_rows(columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return a mask (bool) of the rows that come after the row before in canonical order.

    It is True for the first row.
    """
    ascending = np.empty(len(columns["ts"]), np.bool_)
    _mark_ascending(columns["ts"], _ties(columns), ascending)
    return ascending


def distinct_rows(columns: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return a mask (bool) of the rows, in canonical order, that differ from the row before."""
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
    """Return a rank that puts ABSENT, the highest code, first: it wraps to 0."""
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


def sessionize(
    columns: Mapping[str, NDArray[Any]], ids: Mapping[str, Strings], *, gap_minutes: float | None
) -> CodedIds | None:
    """Return the session column with missing sessions inferred, or None if no session is missing.

    `columns` has `ts`, `user_id` and `session_id` as in `Events`, in any row order. `ids` has the users and sessions.
    The rows of a user without a session are ordered by time. A row more than `gap_minutes` after the one before starts
    a new session, named by the user and the timestamp of its first row. Rows with a session keep it, and neither join
    nor cut inferred ones. So the result does not depend on the row order, and a session across midnight is one in each
    day.

    Memory: about 40 bytes per row without a session, and twice the names of the inferred sessions. Raises `InputError`
    for rows without session and user and, if `gap_minutes` is None, for any row without a session.
    """
    rows = np.flatnonzero(columns["session_id"] == ABSENT)
    if not len(rows):
        return None
    users = columns["user_id"][rows]
    if gap_minutes is None or (users == ABSENT).any():
        raise InputError(
            "parts have events without a session, read with another raw.session_gap_minutes: run raw of this day again"
        )
    order = np.lexsort((columns["ts"][rows], users))
    rows, users = rows[order], users[order]
    starts = _session_starts(columns["ts"][rows], users, gap=round(gap_minutes * _NANOSECONDS_A_MINUTE))
    names = _names(ids["user_id"], users[starts], columns["ts"][rows[starts]])
    codes = columns["session_id"].copy()
    codes[rows] = len(ids["session_id"]) + np.cumsum(starts) - 1
    return merge_coded([codes], [_joined(ids["session_id"], names)])


def _session_starts(ts: NDArray[np.int64], users: NDArray[np.uint32], *, gap: int) -> NDArray[np.bool_]:
    """Return for each row, ordered by user and time, whether it starts a session."""
    begins = np.ones(len(ts), np.bool_)
    np.logical_or(users[1:] != users[:-1], np.diff(ts) > gap, out=begins[1:])
    return begins


def _names(users: Strings, codes: NDArray[np.uint32], ts: NDArray[np.int64]) -> pl.Series:
    """Return the names of sessions that start at `ts`, by the codes of their users."""
    instants = pl.from_epoch(pl.Series(ts), time_unit="ns").dt.to_string(_NAME)
    named: pl.Series = pl.Series(arrow_strings(users)).gather(codes) + "@" + instants
    return named


def _joined(sent: Strings, inferred: pl.Series) -> Strings:
    """Return the sent sessions, followed by the inferred ones. Names may repeat."""
    return strings_of(pl.concat([pl.Series("session", arrow_strings(sent)), inferred.alias("session")]).to_arrow())


class CanonicalCounts(msgspec.Struct, frozen=True):
    """Counts of a canonicalisation: delivered events, dropped exact duplicates, and rows."""

    events: int
    duplicates: int
    rows: int


def canonicalize(
    parts: Iterable[Part], *, expected: int = 0, threads: int = 2, session_gap_minutes: float | None = None
) -> tuple[Events, CanonicalCounts]:
    """Return the distinct events of one target and day in canonical order, and the counts.

    Order: `ts, user_id, session_id, rank, item_id, request_id, event`, ids by code point, nulls first. Rows that are
    equal in all of these count once. The result does not depend on the order of rows, their split into parts, or
    `threads`. Memory: 36 bytes per row, 17 more while sorting (26 if all timestamps are equal), and the distinct ids.
    Pass an iterator, so that each part is released when it was added, and the number of `expected` events, so that no
    column has to grow. Missing sessions are inferred by `sessionize`, which may raise `InputError`.
    """
    columns, ids = _take(parts, expected, threads)
    sessions = sessionize(columns, ids, gap_minutes=session_gap_minutes)
    if sessions is not None:
        columns["session_id"], ids["session_id"] = sessions.codes, sessions.ids
    columns = {name: columns[name] for name in SCHEMA}
    events = len(columns["ts"])
    sort_rows(columns)
    keep = distinct_rows(columns)
    rows = int(np.count_nonzero(keep))
    if rows < events:
        for name in columns:
            columns[name] = columns[name][keep]
    canonical = events_of(columns, ids)
    return canonical, CanonicalCounts(events, events - rows, rows)


def _take(parts: Iterable[Part], expected: int, threads: int) -> tuple[dict[str, NDArray[Any]], dict[str, Strings]]:
    """Return all rows as columns in the order of the parts, and the ids of their codes."""
    numbers = {name: Growing(np.int64, room=expected) for name in ("ts", "rank")}
    coded = {name: CodedColumn(room=expected) for name in ID_COLUMNS}
    columns: dict[str, NDArray[Any]] = {}
    ids: dict[str, Strings] = {}
    with ThreadPoolExecutor(threads) as pool:
        adding: list[Future[None]] = []
        for part in parts:  # the next part is read while the columns of this one are added
            _wait_for(adding)
            numbers["ts"].append(part.ts)
            numbers["rank"].append(part.rank)
            # One column per thread: compiled code and copies release the interpreter lock.
            adding = [pool.submit(coded[name].add, part.codes[name], part.ids[name]) for name in ID_COLUMNS]
        _wait_for(adding)
        give_back_memory()  # only once: the memory freed by one part is reused by the next
        for name, done in {name: pool.submit(coded.pop(name).finish) for name in ID_COLUMNS}.items():
            columns[name], ids[name] = done.result().codes, done.result().ids
    return {**{name: column.array() for name, column in numbers.items()}, **columns}, ids


def _wait_for(futures: Iterable[Future[None]]) -> None:
    """Wait for all futures. Raises the first error."""
    for future in futures:
        future.result()
