"""Popularity: the number of events per item, highest first."""

from collections.abc import Mapping
from functools import reduce
from typing import Annotated

import numpy as np
from pydantic import Field

from recsys_assets.compiled.arrays import Codes, Numbers
from recsys_assets.compiled.kernel_steps import count_codes
from recsys_assets.encoding.rows import Excluded, KernelOutput, Rows
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import POPULARITY_SHAPE
from recsys_assets.kinds.params import EVENT, EventParams, Promise
from recsys_assets.kinds.tallies import repeats_of, row_weights

MAX_WEIGHT = 10_000  # keeps the sums of all events that fit into memory within the exact integers of JSON

Weight = Annotated[int, Field(ge=0, le=MAX_WEIGHT, strict=True)]


class PopularityParams(EventParams):
    """Parameters of the kind `popularity`."""

    max_items: int = Field(default=100_000, ge=1, description="maximum items; those with the highest counts are kept")
    weights: Mapping[str, Weight] = Field(
        default_factory=dict[str, Weight],
        description="integer weight per `event` value; `default`, or else 1, for other values; 0 ignores an event",
    )
    half_life_days: int | None = Field(
        default=None,
        ge=1,
        le=3660,
        description="age relative to the last day at which an event weighs half; counts are then in thousandths",
    )

    @property
    def aged(self) -> bool:
        """Whether the result depends on the age of the days."""
        return self.half_life_days is not None

    @property
    def more_columns(self) -> tuple[str, ...]:
        """The column `event`, if kinds of events are chosen or weighted."""
        return (EVENT,) if self.events or self.weights else ()

    @property
    def native_only(self) -> str:
        """Names of the settings in use that only the native engine supports."""
        own = ("weights" if self.weights else "", "half_life_days" if self.aged else "")
        return " and ".join(filter(None, [super().native_only, *own]))

    @property
    def promise(self) -> Promise:
        """The bound of the single list."""
        return Promise(max_members=self.max_items)


def build_popularity(events: Events, params: PopularityParams) -> KernelOutput:
    """Count events per item, highest count first, ties by item id. The first `max_items` are kept.

    Reads the column `item_id`, and `event` if there are `weights`, which multiply the count of an event. Rows have the
    columns `item_id` (String) and `count` (Int64, > 0). With `half_life_days` counts are in thousandths of an event of
    the last day.
    """
    ids = events.ids["item_id"]
    counts = count_codes(events.codes["item_id"].to_numpy(), size=len(ids), repeats=_repeats(events, params))
    seen = np.flatnonzero(counts)
    # A stable sort keeps equal counts in the order of their codes, which is the order of the ids.
    best = seen[np.argsort(-counts[seen], kind="stable")][: params.max_items]
    rows = Rows(
        shape=POPULARITY_SHAPE,
        keys=np.empty(0, np.uint32),
        offsets=np.array([0, len(best)]),
        members=best.astype(np.uint32),
        values=counts[best],
        key_ids=ids.clear(),
        member_ids=ids,
    )
    numbers = {"distinct_items": len(seen), "cut_items": len(seen) - len(best)}
    return KernelOutput(rows, Excluded(""), numbers)


def _repeats(events: Events, params: PopularityParams) -> Codes | Numbers:
    """Return the weight of each row, empty if all are 1."""
    factors: list[Codes | Numbers] = [repeats for repeats in [repeats_of(events)] if len(repeats)]
    if params.weights:
        factors.append(_weights(events, params))
    if params.half_life_days is not None:
        factors.append(row_weights(events, params.half_life_days))
    return reduce(np.multiply, factors) if factors else np.empty(0, np.uint32)


def _weights(events: Events, params: PopularityParams) -> Numbers:
    """Return the weight of each row's event kind."""
    fallback = params.weights.get("default", 1)
    by_kind = [params.weights.get(kind, fallback) for kind in events.ids[EVENT]]
    codes = events.codes[EVENT].fill_null(len(by_kind)).to_numpy()
    return np.array([*by_kind, fallback], np.int64)[codes]
