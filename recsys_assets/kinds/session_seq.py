"""Session sequence: the items of a user's events after the first one in the window, with their counts."""

import numpy as np

from recsys_assets.encoding.rows import KernelOutput
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import SESSION_SEQ_SHAPE
from recsys_assets.kinds.user_lists import UserParams, list_users


class SessionSeqParams(UserParams):
    """Parameters of the kind `session_seq`."""


def score_followers(events: Events, params: SessionSeqParams) -> KernelOutput:
    """Count the events of each user per item, except the user's first event. Highest first, ties by item id.

    Reads `user_id` and `item_id`. Rows must be in canonical order. A user with a single event has an empty list.
    """
    return list_users(events, params, SESSION_SEQ_SHAPE, weights=np.ones(1, np.int64), skipped=1)
