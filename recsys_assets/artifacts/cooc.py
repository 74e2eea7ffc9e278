"""Co-occurrence: which items met in the same sessions, and in how many."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from recsys_assets.artifacts.counting import Keys, count_runs, pack
from recsys_assets.artifacts.neighbor_rows import best_neighbors
from recsys_assets.artifacts.params import KindParams
from recsys_assets.artifacts.rows import Built, Codes, LeftOut, Numbers, Rows, Shape
from recsys_assets.canonical.events import Events

SHAPE = Shape(body="neighbors", key="item_id", entries="items", member="item_id", column="neighbor_id", value="count")
BLOCK_ROWS = 2048  # rows of one block: what bounds memory, and what one thread takes at a time


class CoocParams(KindParams):
    """Parameters of co-occurrence."""

    min_support: int = Field(default=2, ge=1, description="fewest sessions in which two items met")
    max_neighbors: int = Field(default=50, ge=1, description="a cut: the best neighbours of an item are kept")
    max_items: int = Field(default=1000, ge=1, description="a cut: the items of the most sessions are kept")
    max_items_per_session: int = Field(default=200, ge=2, description="longer sessions are left out and counted")


def count_neighbors(events: Events, params: CoocParams) -> Built:
    """Count the sessions in which two items met, per item, most first; ties by id; `max_neighbors` of each are kept.

    Reads `session_id` and `item_id`; an item counts once per session. Pairs under `min_support` and items left without
    neighbours are dropped. Past `max_items` items, those that stand in the most sessions are kept.

    Row-wise sparse product with a dense accumulator (Gustavson, "Two fast algorithms for sparse matrices", 1978) and a
    heap of `max_neighbors`: pairs are never materialised, so memory does not grow with their number.
    """
    ids = events.ids["item_id"]
    sessions, items = events.codes["session_id"].to_numpy(), events.codes["item_id"].to_numpy()
    pairs, counts = count_runs(pack(sessions, items))
    pairs, left_out = _without_long_sessions(pairs, counts, params, of_events=len(items))
    baskets = _baskets(pairs, distinct_items=len(ids))
    rows = sorted(_rows(baskets, params), key=lambda row: row.item)
    found = Rows(
        shape=SHAPE,
        keys=np.array([row.item for row in rows], np.uint32),
        offsets=np.cumsum([0, *(len(row.neighbors) for row in rows)], dtype=np.int64),
        members=np.concatenate([np.zeros(0, np.uint32), *(row.neighbors for row in rows)]),
        values=np.concatenate([np.zeros(0, np.int64), *(row.counts for row in rows)]),
        key_ids=ids,
        member_ids=ids,
    )
    facts = {"sessions": len(baskets.offsets) - 1, "distinct_items": int(np.count_nonzero(np.diff(baskets.of_item)))}
    return Built(found, left_out, facts)


@dataclass(frozen=True, slots=True)
class Baskets:
    """Sessions and their distinct items, both ways: `items[offsets[s]:offsets[s+1]]` and `sessions[of_item[i]:...]`."""

    items: Codes
    offsets: Numbers
    sessions: Codes
    of_item: Numbers


@dataclass(frozen=True, slots=True)
class _Row:
    item: int
    neighbors: Codes
    counts: Numbers


def _without_long_sessions(pairs: Keys, counts: Numbers, params: CoocParams, *, of_events: int) -> tuple[Keys, LeftOut]:
    """Drop sessions of too many distinct items: their pairs grow with the square of their length."""
    sessions = (pairs >> np.uint64(32)).astype(np.int64)
    lengths = np.bincount(sessions)
    long = lengths > params.max_items_per_session
    if not long.any():
        return pairs, LeftOut("sessions", of_events=of_events)
    left = long[sessions]
    return pairs[~left], LeftOut("sessions", int(long.sum()), int(counts[left].sum()), of_events)


def _baskets(pairs: Keys, *, distinct_items: int) -> Baskets:
    """Turn ascending (session, item) keys into both directions of the incidence matrix."""
    items = (pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    sessions = (pairs >> np.uint64(32)).astype(np.uint32)
    starts = np.flatnonzero(np.diff(sessions, prepend=np.uint32(0xFFFFFFFF)))
    offsets = np.append(starts, len(items)).astype(np.int64)
    dense = np.repeat(np.arange(len(starts), dtype=np.uint32), np.diff(offsets))
    by_item = np.argsort(items, kind="stable")
    counts = np.bincount(items, minlength=distinct_items)
    of_item = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Baskets(items, offsets, dense[by_item], of_item)


def _rows(baskets: Baskets, params: CoocParams) -> Iterator[_Row]:
    """Yield rows with neighbours, items of the most sessions first, until there are `max_items` of them."""
    support = np.diff(baskets.of_item)
    order = np.argsort(-support, kind="stable").astype(np.uint32)
    order = order[: int(np.count_nonzero(support >= params.min_support))]
    blocks = [order[n : n + BLOCK_ROWS] for n in range(0, len(order), BLOCK_ROWS)]
    threads = os.cpu_count() or 1
    left = params.max_items
    with ThreadPoolExecutor(threads) as pool:
        for n in range(0, len(blocks), threads):
            for rows in pool.map(lambda block: _block(baskets, block, params), blocks[n : n + threads]):
                yield from rows[:left]
                left -= min(left, len(rows))
            if not left:
                return


def _block(baskets: Baskets, block: Codes, params: CoocParams) -> list[_Row]:
    lengths, neighbors, counts = best_neighbors(
        baskets.items,
        baskets.offsets,
        baskets.sessions,
        baskets.of_item,
        block,
        params.min_support,
        params.max_neighbors,
    )
    ends = np.cumsum(lengths)
    return [
        _Row(int(item), neighbors[end - length : end], counts[end - length : end])
        for item, length, end in zip(block, lengths, ends, strict=True)
        if length
    ]
