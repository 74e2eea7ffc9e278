"""Content similarity as relations: distinct tags of each item's last catalog row, in their order."""

from io import BytesIO
from typing import Final

import narwhals as nw
import polars as pl

from recsys_assets.encoding.rows import Excluded
from recsys_assets.engines.relation import (
    ITEM,
    KEY,
    MEMBER,
    PLACE,
    Counts,
    Definition,
    Frame,
    Keep,
    KindRelation,
    number_of_rows,
    side_by_side,
)
from recsys_assets.evidence import Scalar
from recsys_assets.ingest.white_space import WHITE_SPACE
from recsys_assets.kinds.content_sim import ContentSimParams, lower

ROW, TAG = "row", "tag"
_LAST = "last"


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
