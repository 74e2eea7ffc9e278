"""Implicit feedback: how much each user had to do with each item, by weighted counts."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from recsys_assets.artifacts.active_users import UserParams, active_users
from recsys_assets.artifacts.counting import count_runs, pack, rank_rows, sum_runs
from recsys_assets.artifacts.rows import Built, Codes, Numbers, Rows, Shape
from recsys_assets.canonical.events import Events

WEIGHT_SCALE = 1_000_000  # weights are summed as whole millionths: sums of integers do not depend on their order
MAX_WEIGHT = 1_000_000

SHAPE = Shape(
    body="users",
    key="user_id",
    entries="items",
    member="item_id",
    column="item_id",
    value="score",
    scale=WEIGHT_SCALE,
)

Weight = Annotated[Decimal, Field(gt=0, le=MAX_WEIGHT, decimal_places=6)]


class ImplicitParams(UserParams):
    """Parameters of implicit feedback."""

    weights: Mapping[str, Weight] = Field(
        default={"default": Decimal(1)},
        description="weight by the events' `event` value, up to six decimals; `default` for all others",
    )

    @field_validator("weights", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        """Read floats by their shortest text: 0.1 in the file is one tenth, not the nearest binary number."""
        if not isinstance(value, Mapping):
            return value
        return {key: Decimal(repr(w)) if isinstance(w, float) else w for key, w in value.items()}

    def millionths(self, event: str | None) -> int:
        """Return the weight of an event kind in whole millionths."""
        fallback = self.weights.get("default", Decimal(1))
        weight = fallback if event is None else self.weights.get(event, fallback)
        return int(weight * WEIGHT_SCALE)


def score_items(events: Events, params: ImplicitParams) -> Built:
    """Sum the events' weights per user and item, highest first; ties by item id; anonymous events are skipped.

    Reads `user_id`, `item_id` and `event`. Weights are whole millionths, so that sums do not depend on their order.
    Scores after Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", 2008: the raw counts r.
    """
    mask, users, left_out = active_users(events, params)
    items = events.codes["item_id"].to_numpy()[mask]
    rows = np.flatnonzero(np.bincount(users, minlength=len(events.ids["user_id"]))).astype(np.uint32)
    weights = _weights(events, params)
    if len(set(weights.tolist())) == 1:
        pairs, counts = count_runs(pack(users, items))
        scores = counts * int(weights[0])
    else:
        pairs, scores = sum_runs(pack(users, items), weights[_event_codes(events)[mask]])
    offsets, kept, values = rank_rows(pairs, scores, rows, limit=params.max_items_per_user)
    found = Rows(SHAPE, rows, offsets, kept, values, events.ids["user_id"], events.ids["item_id"])
    return Built(found, left_out, {"events": len(users), "distinct_items": len(np.unique(kept)), "pairs": len(pairs)})


def _weights(events: Events, params: ImplicitParams) -> Numbers:
    """Return the weight of each event code in millionths; the last stands for events without a kind."""
    names = [*events.ids["event"].to_list(), None] if "event" in events.ids else [None]
    return np.array([params.millionths(name) for name in names], np.int64)


def _event_codes(events: Events) -> Codes:
    """Return each row's event code, that of `_weights`' last entry where the event has none."""
    return events.codes["event"].fill_null(len(events.ids["event"])).to_numpy()
