"""Item sequence: which item came new into a session right after another, and in how many sessions."""

import numpy as np
from pydantic import Field

from recsys_assets.compiled.grouping import count_codes
from recsys_assets.compiled.strings import Codes, Numbers, offsets_of
from recsys_assets.encoding.rows import Built, Rows
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import ITEM_SEQ_SHAPE
from recsys_assets.kinds.baskets import Baskets, fill_baskets
from recsys_assets.kinds.contracts import Marks
from recsys_assets.kinds.event_choice import EventParams
from recsys_assets.kinds.params import Promise

_Pairs = tuple[Codes, Codes, Numbers]  # items, what came next, in how many sessions; by item, then by what came next


class ItemSeqParams(EventParams):
    """Parameters of item sequences."""

    min_support: int = Field(default=2, ge=1, description="fewest sessions in which the one came right after the other")
    max_next: int = Field(default=50, ge=1, description="a cut: the best next items of an item are kept")
    max_items: int = Field(default=1000, ge=1, description="a cut: the items of the most sessions are kept")
    max_items_per_session: int = Field(default=200, ge=2, description="longer sessions are left out and counted")

    @property
    def promise(self) -> Promise:
        """Bounded lists of other items with enough support; what follows is not told from both sides."""
        return Promise(max_lists=self.max_items, max_members=self.max_next, least=self.min_support, others=True)


def count_next(events: Events, params: ItemSeqParams) -> Built:
    """Count, per item, the sessions in which another came next, most first; ties by id; `max_next` of each are kept.

    Reads `session_id` and `item_id`; rows must be in canonical order. A session is the path of its items in the order
    in which each was first seen, so that an item that is seen again neither leads anywhere nor is led to, and a pair
    counts once per session. Pairs under `min_support` and items left without a next one are dropped. Past `max_items`
    items, those that stand in the most sessions are kept. Counts of a first-order Markov chain, as in Rendle,
    Freudenthaler, Schmidt-Thieme, "Factorizing personalized Markov chains", 2010, without its factors.
    """
    baskets, sessions, left_out = fill_baskets(events, max_items=params.max_items_per_session)
    ids = events.ids["item_id"]
    items, following, counts = met = _count_pairs(baskets)
    kept = _keep_items(baskets, items[counts >= params.min_support], params)
    items, following, counts = _best_first(met, kept[items] & (counts >= params.min_support), params)
    lengths = count_codes(items, size=len(ids))
    keys = np.flatnonzero(lengths)
    rows = Rows(ITEM_SEQ_SHAPE, keys.astype(np.uint32), offsets_of(lengths[keys]), following, counts, ids, ids)
    numbers = {
        "sessions": len(sessions),
        "distinct_items": int(np.count_nonzero(baskets.support)),
        "pairs_met": len(met[0]),
    }
    return Built(rows, left_out, numbers)


def _count_pairs(baskets: Baskets) -> _Pairs:
    """Count each pair of an item and the one right behind it in a basket."""
    is_last = np.zeros(len(baskets.items), np.bool_)
    is_last[baskets.ends.astype(np.int64) - 1] = True
    places = np.flatnonzero(~is_last)
    distinct_items = max(len(baskets.support), 1)
    codes = baskets.items[places].astype(np.int64) * distinct_items + baskets.items[places + 1]
    pairs, counts = np.unique(codes, return_counts=True)
    items, following = np.divmod(pairs, distinct_items)
    return items.astype(np.uint32), following.astype(np.uint32), counts.astype(np.int64)


def _keep_items(baskets: Baskets, found: Codes, params: ItemSeqParams) -> Marks:
    """Mark, of the items with a list, the `max_items` that stand in the most sessions; ties by id."""
    kept = np.zeros(len(baskets.support), np.bool_)
    candidates = np.unique(found)
    order = np.argsort(-baskets.support[candidates], kind="stable")
    kept[candidates[order[: params.max_items]]] = True
    return kept


def _best_first(pairs: _Pairs, wanted: Marks, params: ItemSeqParams) -> _Pairs:
    """Return the wanted pairs, each item's best first and no more than `max_next` of them."""
    items, following, counts = pairs
    order = np.flatnonzero(wanted)
    order = order[np.lexsort((following[order], -counts[order], items[order]))]
    sorted_items = items[order]
    order = order[np.arange(len(order)) - np.searchsorted(sorted_items, sorted_items) < params.max_next]
    return items[order], following[order], counts[order]
