"""Popularity: how often each item was seen, most seen first."""

import numpy as np
from pydantic import Field

from recsys_assets.artifacts.decay import row_weights
from recsys_assets.artifacts.grouping import count_codes
from recsys_assets.artifacts.params import KindParams, Promise
from recsys_assets.artifacts.rows import Built, Codes, LeftOut, Numbers, Rows, Shape
from recsys_assets.artifacts.tallies import repeats_of
from recsys_assets.canonical.events import Events

SHAPE = Shape(body="items", member="item_id", column="item_id", value="count")


class PopularityParams(KindParams):
    """Parameters of popularity."""

    max_items: int = Field(default=1000, ge=1, description="a cut: the most seen items are kept")

    half_life_days: int | None = Field(
        default=None,
        ge=1,
        le=3660,
        description="an event so much older than the last day weighs half; counts in 1000ths",
    )

    @property
    def aged(self) -> bool:
        """Whether it matters how old a day of the window is."""
        return self.half_life_days is not None

    @property
    def native_only(self) -> str:
        """Ages."""
        return "half_life_days" if self.aged else ""

    @property
    def promise(self) -> Promise:
        """One list, bounded."""
        return Promise(max_members=self.max_items)


def build_popularity(events: Events, params: PopularityParams) -> Built:
    """Count events per item, most seen first; ties by item id; the first `max_items`.

    Reads the column `item_id`. Rows: `item_id` String, `count` Int64 > 0; with `half_life_days` in thousandths of an
    event of the last day.
    """
    ids = events.ids["item_id"]
    counts = count_codes(events.codes["item_id"].to_numpy(), size=len(ids), repeats=_repeats(events, params))
    seen = np.flatnonzero(counts)
    # A stable sort keeps equal counts in the order of their codes, which is the order of the ids.
    best = seen[np.argsort(-counts[seen], kind="stable")][: params.max_items]
    rows = Rows(
        shape=SHAPE,
        keys=np.empty(0, np.uint32),
        offsets=np.array([0, len(best)]),
        members=best.astype(np.uint32),
        values=counts[best],
        key_ids=ids.clear(),
        member_ids=ids,
    )
    numbers = {"distinct_items": len(seen), "cut_items": len(seen) - len(best)}
    return Built(rows, LeftOut(""), numbers)


def _repeats(events: Events, params: PopularityParams) -> Codes | Numbers:
    """Return as how many each row counts."""
    repeats = repeats_of(events)
    if params.half_life_days is None:
        return repeats
    weights = row_weights(events, params.half_life_days)
    return weights * repeats if len(repeats) else weights
