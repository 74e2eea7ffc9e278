"""Relational definitions on any engine: input columns of events, output rows and counts, and common expressions."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import narwhals as nw

from recsys_assets.encoding.rows import Excluded
from recsys_assets.evidence import Scalar

Frame = nw.LazyFrame[Any]

USER, SESSION, ITEM, EVENT = "user_id", "session_id", "item_id", "event"
INSTANT = "ts"  # time of an event: nanoseconds since 1970, UTC
PLACE = "place"  # position of an event in canonical order over the window
KEY, MEMBER, VALUE = "key", "member", "value"
NEGATED = "negated"  # negated value, because engines only sort in ascending order
_RANK = "rank"


class KindRelation(msgspec.Struct, frozen=True):
    """Rows and counts of a kind as relations.

    `rows`: MEMBER String, VALUE Int64 in units of 1 / scale (only for kinds with a value), and KEY String for kinds
    with keys. A null MEMBER means an empty list. Sorted by `order`, ascending, they are the artifact's rows. The order
    is total, so that every engine gives the same rows. `counts`: one row of Int64 columns, from which the numbers are
    derived.
    """

    rows: Frame
    order: tuple[str, ...]
    counts: Frame

    @property
    def ordered(self) -> Frame:
        """Rows in the artifact's order. The sort is the last operation, so that nothing reorders them."""
        return self.rows.sort(*self.order)


Counts = Mapping[str, int]  # counts by name

# How an engine treats a frame that is read several times: materialise it, or leave it to its planner.
Keep = Callable[[Frame], Frame]


class Definition(msgspec.Struct, frozen=True):
    """Relational definition of a kind: input columns, rows, and the report of its counts."""

    columns: tuple[str, ...]
    answer: Callable[[Frame, Any, Keep], KindRelation]
    report: Callable[[Counts, int], tuple[Excluded, dict[str, Scalar]]]


def number_of_rows() -> nw.Expr:
    """Return the number of rows of a group, as Int64 on every engine."""
    return nw.len().cast(nw.Int64())


def total(column: str) -> nw.Expr:
    """Return the sum of an integer column as Int64: DuckDB's sum is wider, and Parquet would round it."""
    return nw.col(column).sum().cast(nw.Int64()).fill_null(0)


def whole(number: int) -> nw.Expr:
    """Return a literal as Int64, because narrower types overflow in sums on some engines."""
    return nw.lit(number, nw.Int64())


def if_true(condition: nw.Expr, value: nw.Expr) -> nw.Expr:
    """Return the value if the condition holds, else zero, for sums."""
    return nw.when(condition).then(value).otherwise(whole(0))


def as_entries(frame: Frame, *, member: str, value: str, key: str | None = None) -> Frame:
    """Return KEY (if given), MEMBER, VALUE and NEGATED from columns with other names."""
    named = {MEMBER: nw.col(member), VALUE: nw.col(value), NEGATED: nw.col(value) * -1}
    return frame.select(**({KEY: nw.col(key)} if key else {}), **named)


def best_of_each_key(entries: Frame, *, most: int) -> Frame:
    """Return the first `most` entries of each key, by value descending, then by member."""
    # A running sum of ones numbers the rows, because not all engines support row numbers by several columns.
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
