"""Session sequence: what a user came back to after the first thing seen in the window."""

import numpy as np

from recsys_assets.encoding.rows import KernelOutput
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import SESSION_SEQ_SHAPE
from recsys_assets.kinds.user_lists import UserParams, list_users


class SessionSeqParams(UserParams):
    """Parameters of session sequences."""


def score_followers(events: Events, params: SessionSeqParams) -> KernelOutput:
    """Count, per user, every event but the first for its item, highest first; ties by item id.

    Reads `user_id` and `item_id`; rows must be in canonical order. A user with a single event stays, without items.
    """
    return list_users(events, params, SESSION_SEQ_SHAPE, weights=np.ones(1, np.int64), skipped=1)
