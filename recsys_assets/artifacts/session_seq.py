"""Session sequence: what a user came back to after the first thing seen in the window."""

import numpy as np

from recsys_assets.artifacts.active_users import UserParams, active_users
from recsys_assets.artifacts.counting import count_runs, pack, rank_rows
from recsys_assets.artifacts.rows import Built, Rows, Shape
from recsys_assets.canonical.events import Events

SHAPE = Shape(
    body="users",
    key="user_id",
    entries="items",
    member="item_id",
    column="item_id",
    value="score",
    may_be_empty=True,
)


class SessionSeqParams(UserParams):
    """Parameters of session sequences."""


def score_followers(events: Events, params: SessionSeqParams) -> Built:
    """Count, per user, every event but the first for its item, highest first; ties by item id.

    Reads `user_id` and `item_id`; rows must be in canonical order. A user with a single event stays, without items.
    """
    mask, users, left_out = active_users(events, params)
    items = events.codes["item_id"].to_numpy()[mask]
    rows, first = np.unique(users, return_index=True)
    later = np.ones(len(users), np.bool_)
    later[first] = False
    pairs, counts = count_runs(pack(users[later], items[later]))
    offsets, kept, values = rank_rows(pairs, counts, rows, limit=params.max_items_per_user)
    found = Rows(SHAPE, rows, offsets, kept, values, events.ids["user_id"], events.ids["item_id"])
    return Built(found, left_out, {"events": len(users), "distinct_items": len(np.unique(kept)), "pairs": len(pairs)})
