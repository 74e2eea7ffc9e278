"""Co-occurrence: the items that occur in the same sessions as an item, with the number of these sessions."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final, Self

import numpy as np
from pydantic import Field, model_validator

from recsys_assets.compiled.arrays import Codes, Numbers, offsets_of
from recsys_assets.encoding.rows import KernelOutput, Rows
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import COOC_SHAPE
from recsys_assets.kinds.cooc_scan import (
    CODES,
    Score,
    Scoring,
    best_neighbors,
    best_scored,
    new_scored_thread_scratch,
    new_thread_scratch,
    scoring_of,
)
from recsys_assets.kinds.params import KEY_BYTES, MEMBER_BYTES, EventParams, Promise, TuningGrid
from recsys_assets.kinds.paths import Baskets, fill_baskets
from recsys_assets.kinds.tallies import TODAY, ages_of, weights_by_age

BLOCKS_PER_THREAD = 16  # enough that no thread waits long for the last block of another
COOC_GRID: Final = TuningGrid(
    scores=(
        {"score": "count", "shrinkage": 0},
        *({"score": score, "shrinkage": shrinkage} for score in ("cosine", "jaccard") for shrinkage in (0, 3, 10)),
    ),
    steps={"min_support": (1, 2), "window_days": (7, 14, 28), "half_life_days": (7, 14)},
)
MAX_BLOCK_ITEMS = 4096  # bounds the memory of a block, which has space for `max_neighbors` per item

_Block = tuple[Codes, Numbers, Codes, Numbers]  # items, lengths of their lists, neighbours, counts


class CoocParams(EventParams):
    """Parameters of the kind `cooc`."""

    min_support: int = Field(default=2, ge=1, description="minimum sessions that two items share")
    max_neighbors: int = Field(default=20, ge=1, description="maximum neighbours of an item; the best are kept")
    max_items: int = Field(default=100_000, ge=1, description="maximum items; those with the most sessions are kept")
    max_items_per_session: int = Field(
        default=200, ge=2, description="maximum distinct items; longer sessions are excluded and counted"
    )
    score: Score = Field(
        default=Score.COUNT,
        description="number that ranks neighbours; cosine and jaccard are stored in whole millionths",
    )
    shrinkage: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="a score from n shared sessions is multiplied by n / (n + shrinkage); not with count",
    )
    half_life_days: int | None = Field(
        default=None,
        ge=1,
        le=3660,
        description="age relative to the last day at which a session weighs half; counts are then in thousandths",
    )

    @property
    def scored(self) -> bool:
        """Whether the value of a pair is a score or weighted count instead of a plain number of sessions."""
        return self.score is not Score.COUNT or self.half_life_days is not None

    @property
    def aged(self) -> bool:
        """Whether the result depends on the age of the days."""
        return self.half_life_days is not None

    @property
    def native_only(self) -> str:
        """Names of the settings in use that only the native engine supports."""
        return " and ".join(filter(None, [super().native_only, "score and half_life_days" if self.scored else ""]))

    @property
    def row_bytes(self) -> int:
        """Bytes of an item with the maximum number of neighbours."""
        return KEY_BYTES + self.max_neighbors * MEMBER_BYTES

    @property
    def promise(self) -> Promise:
        """Bounds of lists and values, and symmetry of pairs."""
        least = 1 if self.scored else self.min_support
        return Promise(max_lists=self.max_items, max_members=self.max_neighbors, least=least, others=True, pairs=True)

    @model_validator(mode="after")
    def _shrinkage_has_a_score(self) -> Self:
        if self.shrinkage and self.score is Score.COUNT:
            raise ValueError("shrinkage has no effect on the score count: choose another score, or remove it")
        return self


def count_neighbors(events: Events, params: CoocParams) -> KernelOutput:
    """List the best `max_neighbors` neighbours of each item by the number of shared sessions, ties by id.

    Reads `session_id` and `item_id`. An item counts once per session. Pairs below `min_support` are dropped, and items
    that have no neighbours. Of more than `max_items` items, those with the most sessions are kept. With another `score`
    the values are those of `similarity`. With `half_life_days` a session is weighted by the age of its latest day.

    Method: row-wise sparse product with a dense accumulator (Gustavson, "Two fast algorithms for sparse matrices",
    1978) and a heap of `max_neighbors`. Pairs are never materialised, so memory does not grow with their number.
    """
    baskets, sessions, left_out = fill_baskets(events, max_items=params.max_items_per_session)
    scoring = _scoring(events, baskets, sessions, params) if params.scored else None
    items, lengths, members, counts = _best_rows(baskets, params, scoring)
    order = np.argsort(items)
    source, offsets = offsets_of(lengths), offsets_of(lengths[order])
    gather = np.repeat(source[order] - offsets[:-1], lengths[order]) + np.arange(len(members))
    ids = events.ids["item_id"]
    rows = Rows(COOC_SHAPE, items[order], offsets, members[gather], counts[gather], ids, ids)
    numbers = {
        "sessions": len(sessions),
        "distinct_items": int(np.count_nonzero(baskets.support)),
        "pairs_met": int(baskets.work.sum() - len(baskets.items)) // 2,
    }
    return KernelOutput(rows, left_out, numbers)


def _scoring(events: Events, baskets: Baskets, sessions: Numbers, params: CoocParams) -> Scoring:
    """Return the scoring of pairs. A session that spans midnight has the age of its latest day."""
    weights, unit = np.ones(len(sessions), np.int64), 1
    if params.half_life_days is not None:
        ages, unit = ages_of(events), TODAY
        oldest = int(ages.max(initial=0))
        latest = np.full(len(events.ids["session_id"]), oldest, np.int64)
        np.minimum.at(latest, events.codes["session_id"].to_numpy(), ages.astype(np.int64))
        weights = weights_by_age(params.half_life_days, oldest=oldest)[latest[sessions]]
    score, shrinkage = CODES[params.score], params.shrinkage * unit
    return scoring_of(baskets, weights, score=score, shrinkage=shrinkage, min_support=params.min_support)


def _best_rows(baskets: Baskets, params: CoocParams, scoring: Scoring | None) -> _Block:
    """Return the rows of the first `max_items` items with neighbours, items with the most sessions first.

    Rows beyond the cut are not computed: only as many items are tried as may still be kept, and further ones only if
    some of these have no neighbours.
    """
    support = baskets.support
    order = np.argsort(-support, kind="stable").astype(np.uint32)
    order = order[: int(np.count_nonzero(support >= params.min_support))]
    blocks: list[_Block] = []
    missing = params.max_items
    while missing and len(order):
        tried, order = order[:missing], order[missing:]
        for block in _try_items(baskets, tried, params, scoring):
            blocks.append(block)
            missing -= len(block[0])
    return (
        np.concatenate([np.empty(0, np.uint32), *(block[0] for block in blocks)]),
        np.concatenate([np.empty(0, np.int64), *(block[1] for block in blocks)]),
        np.concatenate([np.empty(0, np.uint32), *(block[2] for block in blocks)]),
        np.concatenate([np.empty(0, np.int64), *(block[3] for block in blocks)]),
    )


def _try_items(baskets: Baskets, tried: Codes, params: CoocParams, scoring: Scoring | None) -> list[_Block]:
    """Compute the neighbours of the `tried` items on all processors. Items without neighbours are dropped."""
    threads = os.cpu_count() or 1
    blocks = _blocks(baskets.work, tried, count=threads * BLOCKS_PER_THREAD)
    waiting = iter(blocks)  # shared by the threads: each takes the next block when it is done
    with ThreadPoolExecutor(threads) as pool:
        workers = range(min(threads, len(blocks)))
        if scoring is None:
            done = [pool.submit(_count_blocks, baskets, waiting, params) for _ in workers]
        else:
            done = [pool.submit(_score_blocks, baskets, waiting, params, scoring) for _ in workers]
        return list(chain.from_iterable(thread.result() for thread in done))


def _blocks(work: Numbers, tried: Codes, *, count: int) -> list[Codes]:
    """Split items into about `count` blocks of equal work."""
    done = np.cumsum(work[tried])
    cuts = np.searchsorted(done, np.arange(1, count) * (int(done[-1]) // count + 1), side="right")
    by_size = np.arange(0, len(tried), MAX_BLOCK_ITEMS)
    return [block for block in np.split(tried, np.unique(np.concatenate([cuts, by_size]))) if len(block)]


def _count_blocks(baskets: Baskets, waiting: Iterator[Codes], params: CoocParams) -> list[_Block]:
    """Process blocks until none is left, with counts of pairs."""
    scratch = new_thread_scratch(distinct_items=len(baskets.starts) - 1, max_neighbors=params.max_neighbors)
    blocks: list[_Block] = []
    for block in waiting:
        lengths, members, counts = best_neighbors(baskets, block, min_support=params.min_support, scratch=scratch)
        blocks.append((block[lengths > 0], lengths[lengths > 0], members, counts))
    return blocks


def _score_blocks(baskets: Baskets, waiting: Iterator[Codes], params: CoocParams, scoring: Scoring) -> list[_Block]:
    """Process blocks until none is left, with scores of pairs."""
    scratch = new_scored_thread_scratch(distinct_items=len(baskets.starts) - 1, max_neighbors=params.max_neighbors)
    blocks: list[_Block] = []
    for block in waiting:
        lengths, members, scores = best_scored(baskets, block, scoring, scratch)
        blocks.append((block[lengths > 0], lengths[lengths > 0], members, scores))
    return blocks
