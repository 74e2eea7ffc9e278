"""Popularity, lists per user and content similarity as relations.

Anonymous and over-active users are excluded from lists. Tags are those of the last catalog row of each item.
"""

from io import BytesIO
from typing import Final

import narwhals as nw
import polars as pl

from recsys_assets.encoding.rows import Excluded
from recsys_assets.engines.relation import (
    EVENT,
    ITEM,
    KEY,
    MEMBER,
    NEGATED,
    PLACE,
    USER,
    VALUE,
    Counts,
    Definition,
    Frame,
    Keep,
    KindRelation,
    as_entries,
    best_of_each_key,
    if_true,
    number_of_rows,
    side_by_side,
    total,
    whole,
)
from recsys_assets.evidence import Scalar
from recsys_assets.ingest.white_space import WHITE_SPACE
from recsys_assets.kinds.content_sim import ContentSimParams, lower
from recsys_assets.kinds.popularity import PopularityParams
from recsys_assets.kinds.user_lists import ImplicitParams, SessionSeqParams, UserParams

_EVENTS, _WEIGHT, _FIRST = "events", "weight", "first"
_ORDER = (KEY, NEGATED, MEMBER)
ROW, TAG = "row", "tag"
_LAST = "last"


def implicit(events: Frame, params: ImplicitParams, keep: Keep) -> KindRelation:
    """Sum the event weights per user and item, highest first, ties by item id. Reads USER, ITEM and EVENT.

    Weights are integers in millionths, so that sums do not depend on their order.
    """
    weighed = events.filter(~nw.col(USER).is_null()).select(USER, ITEM, _weight(params).alias(_WEIGHT))
    seen = keep(weighed.group_by(USER, ITEM).agg(number_of_rows().alias(_EVENTS), total(_WEIGHT).alias(_WEIGHT)))
    users = seen.group_by(USER).agg(total(_EVENTS).alias("of_user"))
    counted = users.filter(nw.col("of_user") <= params.max_events_per_user).select(USER)
    entries = as_entries(seen.join(counted, on=USER), key=USER, member=ITEM, value=_WEIGHT)
    rows = best_of_each_key(entries, most=params.max_items_per_user)
    return KindRelation(rows, _ORDER, _counts(users, entries, rows, params))


def session_seq(events: Frame, params: SessionSeqParams, keep: Keep) -> KindRelation:
    """Count, per user, all events by item except the user's first, highest first, ties by id. Reads USER, ITEM, PLACE.

    A user with a single event stays, without items. The first event is the one with the lowest place: an aggregate is
    cheaper than numbering, which would sort all events.
    """
    named = events.filter(~nw.col(USER).is_null())
    first = nw.col(PLACE).min().alias(_FIRST)
    seen = keep(named.group_by(USER, ITEM).agg(number_of_rows().alias(_EVENTS), first))
    users = seen.group_by(USER).agg(total(_EVENTS).alias("of_user"), nw.col(_FIRST).min().alias("first_of_user"))
    counted = users.filter(nw.col("of_user") <= params.max_events_per_user).select(USER, "first_of_user")
    passed = if_true(nw.col(_FIRST) == nw.col("first_of_user"), whole(1))
    followed = seen.join(counted, on=USER).with_columns((nw.col(_EVENTS) - passed).alias(_WEIGHT))
    entries = as_entries(followed.filter(nw.col(_WEIGHT) > 0), key=USER, member=ITEM, value=_WEIGHT)
    best = best_of_each_key(entries, most=params.max_items_per_user)
    rows = counted.select(nw.col(USER).alias(KEY)).join(best, on=KEY, how="left")
    return KindRelation(rows.select(KEY, MEMBER, VALUE, NEGATED), _ORDER, _counts(users, entries, best, params))


def report_users(counts: Counts, rows: int) -> tuple[Excluded, dict[str, Scalar]]:
    """Return the exclusions, and the same numbers as the native kernels."""
    del rows
    left_out = Excluded("users", groups=counts["left_out"], of_groups=counts["users"], events=counts["left_out_events"])
    return left_out, {name: counts[name] for name in ("events", "distinct_items", "pairs")}


def _weight(params: ImplicitParams) -> nw.Expr:
    """Return an event's weight in millionths by its kind, or the default for other or missing kinds."""
    weight = whole(params.millionths(None))
    for event in params.weights:
        weight = nw.when(nw.col(EVENT) == event).then(whole(params.millionths(event))).otherwise(weight)
    return weight


def _counts(users: Frame, entries: Frame, rows: Frame, params: UserParams) -> Frame:
    heavy = nw.col("of_user") > params.max_events_per_user
    of_users = users.select(
        whole(1).alias("users"),
        if_true(heavy, whole(1)).alias("left_out"),
        if_true(heavy, nw.col("of_user")).alias("left_out_events"),
        if_true(~heavy, nw.col("of_user")).alias(_EVENTS),
    )
    return side_by_side(
        of_users.select(total(name).alias(name) for name in ("users", "left_out", "left_out_events", _EVENTS)),
        entries.select(number_of_rows().alias("pairs")),
        rows.group_by(MEMBER).agg(number_of_rows().alias(_EVENTS)).select(number_of_rows().alias("distinct_items")),
    )


IMPLICIT: Final = Definition((USER, ITEM, EVENT), implicit, report_users)
SESSION_SEQ: Final = Definition((USER, ITEM, PLACE), session_seq, report_users)


def popularity(events: Frame, params: PopularityParams, keep: Keep) -> KindRelation:
    """Count events per item, highest first, ties by item id. The first `max_items` are kept. Reads ITEM."""
    counts = keep(events.group_by(ITEM).agg(number_of_rows().alias("events")))
    entries = as_entries(counts, member=ITEM, value="events")
    best = entries.sort(NEGATED, MEMBER).head(params.max_items)
    return KindRelation(best, (NEGATED, MEMBER), counts.select(number_of_rows().alias("distinct_items")))


def report_popularity(counts: Counts, rows: int) -> tuple[Excluded, dict[str, Scalar]]:
    """Return the exclusions, and the same numbers as the native kernel."""
    return Excluded(""), {"distinct_items": counts["distinct_items"], "cut_items": counts["distinct_items"] - rows}


POPULARITY: Final = Definition((ITEM,), popularity, report_popularity)


def tag_rows(catalog: pl.DataFrame) -> pl.DataFrame:
    """Return one row per tag of a catalog: ROW (of the file), ITEM, PLACE (in its row) and TAG, trimmed, lower-cased.

    A catalog row without tags has one row, whose TAG is empty. `catalog`: item_id String, tags List(String), in file
    order. Texts are normalised here, because engines lower-case differently.
    """
    listed = (
        catalog.select(ITEM, "tags")
        .with_row_index(ROW)
        .explode("tags", empty_as_null=True, keep_nulls=True)
        .with_row_index(PLACE)
    )
    texts = listed["tags"].unique().drop_nulls()
    cleaned = pl.DataFrame(
        {"tags": texts, TAG: pl.Series([lower(t.strip(WHITE_SPACE)) for t in texts], dtype=pl.String)}
    )
    tagged = listed.join(cleaned, on="tags", how="left", maintain_order="left")
    return tagged.select(pl.col(ROW, PLACE).cast(pl.Int64), ITEM, pl.col(TAG).fill_null(""))


def encode_tags(catalog: pl.DataFrame) -> bytes:
    """Return `tag_rows` of a catalog as Parquet, for an engine to scan."""
    out = BytesIO()
    tag_rows(catalog).write_parquet(out)
    return out.getvalue()


def content_sim(tags: Frame, params: ContentSimParams, keep: Keep) -> KindRelation:
    """List each item's distinct, non-empty tags in order, with items by id. Reads the columns of `tag_rows`.

    The last of several rows with one id counts. Items without tags are dropped. The first `max_items` by id are kept.
    """
    last = tags.group_by(ITEM).agg(nw.col(ROW).max().alias(_LAST))
    latest = tags.join(last, on=ITEM).filter((nw.col(ROW) == nw.col(_LAST)) & (nw.col(TAG) != ""))
    distinct = keep(latest.group_by(ITEM, TAG).agg(nw.col(PLACE).min().alias(PLACE)))
    items = distinct.group_by(ITEM).agg(number_of_rows().alias("tags")).select(ITEM)
    tagged = distinct.join(items.sort(ITEM).head(params.max_items), on=ITEM)
    rows = tagged.select(nw.col(ITEM).alias(KEY), nw.col(TAG).alias(MEMBER), PLACE)
    counts = side_by_side(
        tags.select(ROW)
        .group_by(ROW)
        .agg(number_of_rows().alias(PLACE))
        .select(number_of_rows().alias("catalog_rows")),
        last.select(number_of_rows().alias("ids")),
        items.select(number_of_rows().alias("with_tags")),
        tagged.group_by(TAG).agg(number_of_rows().alias(PLACE)).select(number_of_rows().alias("distinct_tags")),
    )
    return KindRelation(rows, (KEY, PLACE), counts)


def report_content_sim(counts: Counts, rows: int) -> tuple[Excluded, dict[str, Scalar]]:
    """Return the exclusions, and the same numbers as the native kernel."""
    ids, with_tags = counts["ids"], counts["with_tags"]
    numbers = {"catalog_rows": counts["catalog_rows"], "repeated_ids": counts["catalog_rows"] - ids}
    numbers |= {"without_tags": ids - with_tags, "cut_items": with_tags - rows}
    return Excluded(""), {**numbers, "distinct_tags": counts["distinct_tags"]}


CONTENT_SIM: Final = Definition((ROW, ITEM, PLACE, TAG), content_sim, report_content_sim)
