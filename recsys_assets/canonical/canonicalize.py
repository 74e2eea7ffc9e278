"""Parts to canonical events: one row per fact, in one total order, whatever way the rows came in."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_assets.canonical.columns import events_of, give_back_memory
from recsys_assets.canonical.dictionaries import CodedColumn
from recsys_assets.canonical.events import ID_COLUMNS, SCHEMA, Events
from recsys_assets.canonical.growing import Growing
from recsys_assets.canonical.ordering import distinct_rows, sort_rows
from recsys_assets.canonical.sessionizing import sessionize
from recsys_assets.raw.part import Part, Strings


@dataclass(frozen=True, slots=True)
class CanonicalCounts:
    """What went in and came out: events as delivered, exact duplicates dropped, rows kept."""

    events: int
    duplicates: int
    rows: int


def canonicalize(
    parts: Iterable[Part], *, expected: int = 0, threads: int = 2, session_gap_minutes: float | None = None
) -> tuple[Events, CanonicalCounts]:
    """Return the distinct events of one target and day in canonical order, and the counts.

    Order: `ts, user_id, session_id, rank, item_id, request_id, event`, ids by code point, absent first. Rows that are
    alike in all of these count once. The result is the same for the same rows in any order and division, and for any
    `threads`. Memory: 36 bytes a row, 17 more while sorting (26 if all tie), and the distinct ids; pass an iterator,
    so that a part is let go of when it is taken, and the number of `expected` events, so that no column has to grow.
    Events that came without a session get the one that `sessionize` finds.
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
    """Return all rows as columns in the order in which they came, and the ids that the codes stand for."""
    numbers = {name: Growing(np.int64, room=expected) for name in ("ts", "rank")}
    coded = {name: CodedColumn(room=expected) for name in ID_COLUMNS}
    columns: dict[str, NDArray[Any]] = {}
    ids: dict[str, Strings] = {}
    with ThreadPoolExecutor(threads) as pool:
        taking: list[Future[None]] = []
        for part in parts:  # the next one is read while the columns of this one are taken
            _wait_for(taking)
            numbers["ts"].append(part.ts)
            numbers["rank"].append(part.rank)
            # A column at a time on each thread: compiled code and copies need no interpreter.
            taking = [pool.submit(coded[name].add, part.codes[name], part.ids[name]) for name in ID_COLUMNS]
        _wait_for(taking)
        give_back_memory()  # once: what one part leaves behind, the next is decoded into
        for name, done in {name: pool.submit(coded.pop(name).finish) for name in ID_COLUMNS}.items():
            columns[name], ids[name] = done.result().codes, done.result().ids
    return {**{name: column.array() for name, column in numbers.items()}, **columns}, ids


def _wait_for(futures: Iterable[Future[None]]) -> None:
    """Return when all are done; raises what one of them raised."""
    for future in futures:
        future.result()
