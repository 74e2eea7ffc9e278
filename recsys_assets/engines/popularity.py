"""Popularity as relations: events counted by item, the most seen kept."""

from typing import Final

from recsys_assets.encoding.rows import LeftOut
from recsys_assets.engines.relation import (
    ITEM,
    MEMBER,
    NEGATED,
    Answer,
    Counts,
    Definition,
    Frame,
    Keep,
    as_entries,
    number_of_rows,
)
from recsys_assets.evidence import Scalar
from recsys_assets.kinds.popularity import PopularityParams


def popularity(events: Frame, params: PopularityParams, keep: Keep) -> Answer:
    """Count events per item, most seen first; ties by item id; the first `max_items`. Reads ITEM."""
    counts = keep(events.group_by(ITEM).agg(number_of_rows().alias("events")))
    entries = as_entries(counts, member=ITEM, value="events")
    best = entries.sort(NEGATED, MEMBER).head(params.max_items)
    return Answer(best, (NEGATED, MEMBER), counts.select(number_of_rows().alias("distinct_items")))


def report_popularity(counts: Counts, rows: int) -> tuple[LeftOut, dict[str, Scalar]]:
    """Return what was left out, and the numbers of the native kernel."""
    return LeftOut(""), {"distinct_items": counts["distinct_items"], "cut_items": counts["distinct_items"] - rows}


POPULARITY: Final = Definition((ITEM,), popularity, report_popularity)
