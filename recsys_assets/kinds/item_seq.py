"""Item sequence: the new items that directly follow an item in sessions, with the number of these sessions."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys_assets.compiled.arrays import Codes, Numbers, offsets_of
from recsys_assets.compiled.kernel_steps import count_codes
from recsys_assets.compiled.runtime import compiled
from recsys_assets.encoding.rows import KernelOutput, Rows
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import ITEM_SEQ_SHAPE
from recsys_assets.kinds.contracts import Marks
from recsys_assets.kinds.params import EventParams, Promise
from recsys_assets.kinds.paths import Paths, fill_paths

_Pairs = tuple[Codes, Codes, Numbers]  # items, next items and numbers of sessions, sorted by item and next item


class ItemSeqParams(EventParams):
    """Parameters of the kind `item_seq`."""

    min_support: int = Field(
        default=2, ge=1, description="minimum sessions in which one item directly follows the other"
    )
    max_next: int = Field(default=20, ge=1, description="maximum next items of an item; the best are kept")
    max_items: int = Field(default=100_000, ge=1, description="maximum items; those with the most sessions are kept")
    max_items_per_session: int = Field(
        default=200, ge=2, description="maximum distinct items; longer sessions are excluded and counted"
    )

    @property
    def promise(self) -> Promise:
        """Bounds of lists and values. Pairs are not symmetric."""
        return Promise(max_lists=self.max_items, max_members=self.max_next, least=self.min_support, others=True)


def count_next(events: Events, params: ItemSeqParams) -> KernelOutput:
    """List the best `max_next` next items of each item by the number of sessions, ties by id.

    Reads `session_id`, `item_id` and `ts`. Rows must be in canonical order. A session is the path of the timestamps at
    which items occur in it for the first time: the next items of an item are those of the next such timestamp. Items of
    the same timestamp have no order, so none follows the other. Repeated visits to an item are ignored, and a pair
    counts once per session. Pairs below `min_support` are dropped, and items that have no next item. Of more than
    `max_items` items, those with the most sessions are kept. The counts are those of a first-order Markov chain, as in
    Rendle, Freudenthaler, Schmidt-Thieme, "Factorizing personalized Markov chains", 2010, without the factorization.
    """
    paths, left_out = fill_paths(events, max_items=params.max_items_per_session)
    ids = events.ids["item_id"]
    items, following, counts = pairs = _count_pairs(paths)
    mask = _keep_items(paths, items[counts >= params.min_support], params)
    items, following, counts = _best_first(pairs, mask[items] & (counts >= params.min_support), params)
    lengths = count_codes(items, size=len(ids))
    keys = np.flatnonzero(lengths)
    rows = Rows(ITEM_SEQ_SHAPE, keys.astype(np.uint32), offsets_of(lengths[keys]), following, counts, ids, ids)
    numbers = {
        "sessions": paths.sessions,
        "distinct_items": int(np.count_nonzero(paths.support)),
        "pairs_met": len(pairs[0]),
    }
    return KernelOutput(rows, left_out, numbers)


def _count_pairs(paths: Paths) -> _Pairs:
    """Count the sessions of each pair of an item and a new item of the next timestamp with new items."""
    distinct_items = max(len(paths.support), 1)
    first = np.empty((2, len(paths.items)), np.int64)
    ends = np.empty(len(paths.offsets), np.int64)
    used = _first_visits(paths, np.full(distinct_items, -1, np.int64), first, ends)
    first = np.ascontiguousarray(first[:, :used])  # always the same layout, so it is compiled once
    codes = np.empty(_emit(first, ends, distinct_items, np.empty(0, np.int64)), np.int64)
    _emit(first, ends, distinct_items, codes)
    pairs, counts = np.unique(codes, return_counts=True)
    items, following = np.divmod(pairs, distinct_items)
    return items.astype(np.uint32), following.astype(np.uint32), counts.astype(np.int64)


@compiled
def _first_visits(paths: Paths, seen_in: Numbers, first: NDArray[np.int64], ends: Numbers) -> int:
    """Write the first visit to each item, session by session, as item and step. Returns the number of visits."""
    used = 0
    ends[0] = 0
    for session in range(len(paths.offsets) - 1):
        for position in range(paths.offsets[session], paths.offsets[session + 1]):
            item = paths.items[position]
            if seen_in[item] != session:
                seen_in[item] = session
                first[0, used] = item
                first[1, used] = paths.steps[position]
                used += 1
        ends[session + 1] = used
    return used


@compiled
def _emit(first: NDArray[np.int64], ends: Numbers, distinct_items: int, codes: Numbers) -> int:
    """Write the code of each pair, unless `codes` is empty. Returns the number of pairs."""
    used = 0
    for session in range(len(ends) - 1):
        begin, end = ends[session], ends[session + 1]
        while begin < end:
            middle = begin
            while middle < end and first[1, middle] == first[1, begin]:
                middle += 1
            stop = middle
            while stop < end and first[1, stop] == first[1, middle]:
                stop += 1
            for first_visit in range(begin, middle):
                for other in range(middle, stop):
                    if len(codes):
                        codes[used] = first[0, first_visit] * distinct_items + first[0, other]
                    used += 1
            begin = middle
    return used


def _keep_items(paths: Paths, items: Codes, params: ItemSeqParams) -> Marks:
    """Return a mask of the `max_items` of `items` with the most sessions, ties by id."""
    mask = np.zeros(len(paths.support), np.bool_)
    candidates = np.unique(items)
    order = np.argsort(-paths.support[candidates], kind="stable")
    mask[candidates[order[: params.max_items]]] = True
    return mask


def _best_first(pairs: _Pairs, wanted: Marks, params: ItemSeqParams) -> _Pairs:
    """Return the wanted pairs by item, best first, with at most `max_next` per item."""
    items, following, counts = pairs
    order = np.flatnonzero(wanted)
    order = order[np.lexsort((following[order], -counts[order], items[order]))]
    sorted_items = items[order]
    order = order[np.arange(len(order)) - np.searchsorted(sorted_items, sorted_items) < params.max_next]
    return items[order], following[order], counts[order]
