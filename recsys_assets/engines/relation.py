"""Input and output of a relational definition, on any engine: columns of events in; ordered rows and counts out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw

from recsys_assets.encoding.rows import Excluded
from recsys_assets.evidence import Scalar

Frame = nw.LazyFrame[Any]

USER, SESSION, ITEM, EVENT = "user_id", "session_id", "item_id", "event"
INSTANT = "ts"  # of an event: nanoseconds since 1970 in UTC
PLACE = "place"  # of an event: which one it is in canonical order, over all days of the window
KEY, MEMBER, VALUE = "key", "member", "value"
NEGATED = "negated"  # the value below zero: engines sort and number rows in ascending order only
_RANK = "rank"


@dataclass(frozen=True, slots=True)
class KindRelation:
    """What a kind is, said in relations.

    `rows`: MEMBER String, VALUE Int64 in units of 1 / scale (not for kinds without a value), and for kinds with keys
    KEY String; a MEMBER that is null stands for an empty list. Sorted by `order`, ascending, they are the artifact's
    rows; the order is total, so that every engine gives the same. `counts`: one row of Int64 columns, of which the
    numbers are made that people watch.
    """

    rows: Frame
    order: tuple[str, ...]
    counts: Frame

    @property
    def ordered(self) -> Frame:
        """The rows in the artifact's order; the sort comes last, so that nothing after it can mix them."""
        return self.rows.sort(*self.order)


Counts = Mapping[str, int]  # the names and numbers of an answer's counts

# What an engine does with a frame that a definition reads several times: keep its rows, or trust its planner.
Keep = Callable[[Frame], Frame]


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind in relations: the columns that it reads, its rows, and its counts as numbers for people."""

    columns: tuple[str, ...]
    answer: Callable[[Frame, Any, Keep], KindRelation]
    report: Callable[[Counts, int], tuple[Excluded, dict[str, Scalar]]]


def number_of_rows() -> nw.Expr:
    """Return how many rows a group has, as Int64 on every engine."""
    return nw.len().cast(nw.Int64())


def total(column: str) -> nw.Expr:
    """Return the sum of a column of whole numbers as Int64: DuckDB's own is wider, and Parquet would round it."""
    return nw.col(column).sum().cast(nw.Int64()).fill_null(0)


def whole(number: int) -> nw.Expr:
    """Return a number as Int64: a narrower one would overflow in sums on some engines."""
    return nw.lit(number, nw.Int64())


def if_true(condition: nw.Expr, value: nw.Expr) -> nw.Expr:
    """Return a value where the condition holds, else zero; to be summed."""
    return nw.when(condition).then(value).otherwise(whole(0))


def as_entries(frame: Frame, *, member: str, value: str, key: str | None = None) -> Frame:
    """Return KEY (if there is one), MEMBER, VALUE and NEGATED from columns of other names."""
    named = {MEMBER: nw.col(member), VALUE: nw.col(value), NEGATED: nw.col(value) * -1}
    return frame.select(**({KEY: nw.col(key)} if key else {}), **named)


def best_of_each_key(entries: Frame, *, most: int) -> Frame:
    """Return the first `most` entries of each key, by value descending, then by member."""
    # A running sum of ones numbers the rows: there is no row number by several columns that all engines know.
    ranked = entries.with_columns(nw.lit(1).alias("one")).with_columns(
        nw.col("one").cum_sum().over(KEY, order_by=[NEGATED, MEMBER]).alias(_RANK)
    )
    return ranked.filter(nw.col(_RANK) <= most).drop("one", _RANK)


def side_by_side(*counts: Frame) -> Frame:
    """Return several frames of one row as one row."""
    first, *others = counts
    for other in others:
        first = first.join(other, how="cross")
    return first
