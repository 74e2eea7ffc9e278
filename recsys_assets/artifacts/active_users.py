"""Which events count for kinds with a row per user: named users only, over-active ones left out."""

import numpy as np
from pydantic import Field

from recsys_assets.artifacts.params import KindParams
from recsys_assets.artifacts.rows import Codes, LeftOut
from recsys_assets.canonical.events import Events

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


class UserParams(KindParams):
    """Parameters of every kind with a row per user."""

    max_items_per_user: int = Field(default=500, ge=1, description="a cut: the best items of a user are kept")
    max_events_per_user: int = Field(default=10_000, ge=1, description="more active users are left out and counted")


def active_users(events: Events, params: UserParams) -> tuple[Mask, Codes, LeftOut]:
    """Return which rows count, the user code of each of them, and what was left out.

    A user with more than `max_events_per_user` events is a robot more often than a person, and would cost most of the
    work: such users are left out whole and counted.
    """
    column = events.codes["user_id"]
    named = column.is_not_null().to_numpy()
    users = column.drop_nulls().to_numpy()
    counts = np.bincount(users, minlength=len(events.ids["user_id"]))
    heavy = counts > params.max_events_per_user
    left_out = LeftOut("users", int(heavy.sum()), int(np.count_nonzero(counts)), int(counts[heavy].sum()))
    if left_out.groups:
        light = ~heavy[users]
        named[named] = light
        users = users[light]
    return named, users, left_out
