"""Parts to canonical events: one row per fact, in one total order, whatever way the rows came in."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_assets.canonical.columns import Coded, events_of
from recsys_assets.canonical.dictionaries import merge_coded
from recsys_assets.canonical.events import ID_COLUMNS, SCHEMA, Events
from recsys_assets.canonical.ordering import distinct_rows, sort_rows
from recsys_assets.raw.part import Part, Strings


@dataclass(frozen=True, slots=True)
class CanonicalCounts:
    """What went in and came out: events as delivered, exact duplicates dropped, rows kept."""

    events: int
    duplicates: int
    rows: int


def canonicalize(parts: Iterable[Part], *, threads: int = 2) -> tuple[Events, CanonicalCounts]:
    """Return the distinct events of one target and day in canonical order, and the counts.

    Order: `ts, user_id, session_id, rank, item_id, request_id, event`, ids by code point, absent first. Rows that are
    alike in all of these count once. The result is the same for the same rows in any order and division, and for any
    `threads`. Memory: twice the codes (36 bytes a row); pass an iterator, so that a part is freed when it is taken.
    """
    columns, ids, lists = _take(parts)
    with ThreadPoolExecutor(threads) as pool:
        jobs = {name: pool.submit(_merge, lists, ids, name) for name in ID_COLUMNS}
        merged = {name: job.result() for name, job in jobs.items()}
    columns.update({name: coded.codes for name, coded in merged.items()})
    columns = {name: columns[name] for name in SCHEMA}
    events = len(columns["ts"])
    sort_rows(columns)
    keep = distinct_rows(columns)
    rows = int(np.count_nonzero(keep))
    if rows < events:
        for name in columns:
            columns[name] = columns[name][keep]
    canonical = events_of(columns, {name: coded.ids for name, coded in merged.items()})
    return canonical, CanonicalCounts(events, events - rows, rows)


_Lists = dict[str, list[NDArray[Any]]]


def _take(parts: Iterable[Part]) -> tuple[dict[str, NDArray[Any]], dict[str, list[Strings]], _Lists]:
    """Return `ts` and `rank` of all parts as columns, and the ids and codes of each part by column."""
    ts: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    rank: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    ids: dict[str, list[Strings]] = {name: [] for name in ID_COLUMNS}
    codes: _Lists = {name: [] for name in ID_COLUMNS}
    for part in parts:
        ts.append(part.ts)
        rank.append(part.rank)
        for name in ID_COLUMNS:
            ids[name].append(part.ids[name])
            codes[name].append(part.codes[name])
    return {"ts": np.concatenate(ts), "rank": np.concatenate(rank)}, ids, codes


def _merge(codes: _Lists, ids: dict[str, list[Strings]], name: str) -> Coded:
    """Merge one column, and let go of what it was made of."""
    return merge_coded(codes.pop(name), ids.pop(name))
