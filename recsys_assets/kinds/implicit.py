"""Implicit feedback: how much each user had to do with each item, by weighted counts."""

from recsys_assets.encoding.rows import Built
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import IMPLICIT_SHAPE
from recsys_assets.kinds.user_lists import list_users
from recsys_assets.kinds.weights import WeightedParams, weights_of


class ImplicitParams(WeightedParams):
    """Parameters of implicit feedback."""


def score_items(events: Events, params: ImplicitParams) -> Built:
    """Sum the events' weights per user and item, highest first; ties by item id; anonymous events are skipped.

    Reads `user_id`, `item_id` and `event`. Weights are whole millionths, so that sums do not depend on their order.
    Scores after Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", 2008: the raw counts r.
    """
    return list_users(events, params, IMPLICIT_SHAPE, weights=weights_of(events, params))
