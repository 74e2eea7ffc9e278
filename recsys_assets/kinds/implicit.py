"""Implicit feedback: a score per user and item, the exact sum of the weights of the user's events."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from recsys_assets.compiled.arrays import Numbers
from recsys_assets.encoding.rows import KernelOutput
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import IMPLICIT_SHAPE
from recsys_assets.kinds.user_lists import UserParams, list_users

WEIGHT_SCALE = 1_000_000  # weights are summed in whole millionths: integer sums do not depend on their order
MAX_SCORE = 2**33  # below it distinct scores are distinct doubles, so each has a unique shortest text

Weight = Annotated[Decimal, Field(gt=0, lt=MAX_SCORE, decimal_places=6)]


class WeightedParams(UserParams):
    """Parameters of the kinds that sum the weights of a user's events."""

    weights: Mapping[str, Weight] = Field(
        default={"default": Decimal(1)},
        description="weight per `event` value, with up to six decimals; `default` for all other values",
    )

    @model_validator(mode="after")
    def _scores_are_exact(self) -> Self:
        heaviest = max(self.weights.values(), default=Decimal(1))
        if heaviest * self.max_events_per_user >= MAX_SCORE:
            raise ValueError(
                f"a weight of {heaviest} times max_events_per_user = {self.max_events_per_user} reaches {MAX_SCORE}, "
                "above which scores are not exact: lower one of them"
            )
        return self

    @field_validator("weights", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        """Convert floats by their shortest text: 0.1 in the file is one tenth, not the nearest binary number."""
        if not isinstance(value, Mapping):
            return value
        return {key: Decimal(repr(w)) if isinstance(w, float) else w for key, w in value.items()}

    def millionths(self, event: str | None) -> int:
        """Return the weight of an event kind in millionths. None is an event without a kind."""
        fallback = self.weights.get("default", Decimal(1))
        weight = fallback if event is None else self.weights.get(event, fallback)
        return int(weight * WEIGHT_SCALE)


def weights_of(events: Events, params: WeightedParams) -> Numbers:
    """Return the weight by event kind (int64, millionths). The last one is for events without a kind.

    Returns a single weight if all are equal.
    """
    kinds = [*events.ids["event"].to_list(), None] if params.weights.keys() - {"default"} else [None]
    weights = np.array([params.millionths(kind) for kind in kinds], np.int64)
    return weights if len(set(weights.tolist())) > 1 else weights[-1:]


class ImplicitParams(WeightedParams):
    """Parameters of the kind `implicit`."""


def score_items(events: Events, params: ImplicitParams) -> KernelOutput:
    """Sum the weights of events per user and item, highest sum first, ties by item id. Anonymous events are skipped.

    Reads `user_id`, `item_id` and `event`. Weights are whole millionths, so sums do not depend on their order. The
    scores are the raw counts r of Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", 2008.
    """
    return list_users(events, params, IMPLICIT_SHAPE, weights=weights_of(events, params))
