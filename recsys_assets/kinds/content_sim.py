"""Content similarity: the tags of each catalog item, by which services find similar items."""

import numpy as np
import polars as pl
from pydantic import Field

from recsys_assets.encoding.rows import Excluded, KernelOutput, Rows
from recsys_assets.ingest.white_space import WHITE_SPACE
from recsys_assets.kind_descriptions import CONTENT_SIM_SHAPE
from recsys_assets.kinds.params import KEY_BYTES, KindParams, Promise

_TAG_BYTES = 13  # bytes of a usual tag in JSON


class ContentSimParams(KindParams):
    """Parameters of the kind `content_sim`."""

    max_items: int = Field(default=100_000, ge=1, description="maximum items; the first by id are kept")

    @property
    def promise(self) -> Promise:
        """A bounded number of lists of lower-case tags."""
        return Promise(max_lists=self.max_items, lower_case=True)

    @property
    def row_bytes(self) -> int:
        """Bytes of an item with eight tags."""
        return KEY_BYTES + 8 * _TAG_BYTES


def list_tags(catalog: pl.DataFrame, params: ContentSimParams) -> KernelOutput:
    """List the tags of each item, ordered by item id.

    `catalog` has the columns `item_id` (String) and `tags` (List(String)), in file order, with only the rows of this
    surface (`rows_of_surface`). Of several rows with the same id the last one counts. Tags are trimmed, lower-cased and
    distinct, in their original order. Empty ones are dropped. Items without tags are dropped, and the first `max_items`
    by id are kept.
    """
    last = catalog.unique("item_id", keep="last").sort("item_id")
    tags = _clean(last)
    items = tags["item"].unique().sort()
    tagged = tags.filter(pl.col("item").is_in(items.head(params.max_items).implode()))
    tag_ids = tagged["tag"].unique().sort()
    keys, lengths = np.unique(tagged["item"].to_numpy(), return_counts=True)
    rows = Rows(
        shape=CONTENT_SIM_SHAPE,
        keys=np.arange(len(keys), dtype=np.uint32),
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        members=tag_ids.search_sorted(tagged["tag"]).cast(pl.UInt32).to_numpy(),
        values=np.zeros(len(tagged), np.int64),
        key_ids=last["item_id"].gather(pl.Series(keys)),
        member_ids=tag_ids,
    )
    facts = {
        "catalog_rows": len(catalog),
        "repeated_ids": len(catalog) - len(last),
        "without_tags": len(last) - len(items),
    }
    numbers = facts | {"cut_items": len(items) - len(keys), "distinct_tags": len(tag_ids)}
    return KernelOutput(rows, Excluded(""), numbers)


def rows_of_surface(catalog: pl.DataFrame, surface: str) -> pl.DataFrame:
    """Return the catalog rows whose `namespace` is blank, null or this surface."""
    return catalog.filter(pl.col("namespace").is_null() | pl.col("namespace").is_in(["", surface]))


def _clean(catalog: pl.DataFrame) -> pl.DataFrame:
    """Return `item` (row number, UInt32) and `tag` (String): the distinct tags of each row, in order."""
    raw = catalog.select("tags").with_row_index("item").explode("tags").drop_nulls("tags")
    texts = raw["tags"].unique()
    tags = pl.Series("tag", [lower(text.strip(WHITE_SPACE)) for text in texts], dtype=pl.String)
    cleaned = raw.join(pl.DataFrame([texts, tags]), on="tags", how="left", maintain_order="left")
    return cleaned.filter(pl.col("tag") != "").unique(["item", "tag"], keep="first", maintain_order=True)


def lower(text: str) -> str:
    """Lower-case each character by itself, without context rules or expansion, like all writers of this format."""
    return text.lower() if text.isascii() else "".join(char.lower()[:1] for char in text)
