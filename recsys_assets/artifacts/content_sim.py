"""Content similarity: the tags of each catalog item, by which services find items alike."""

import numpy as np
import polars as pl
from pydantic import Field

from recsys_assets.artifacts.params import KindParams, Promise
from recsys_assets.artifacts.rows import Built, LeftOut, Rows, Shape
from recsys_assets.raw.white_space import WHITE_SPACE

SHAPE = Shape(body="items", key="item_id", entries="tags", member="tag", column="tag")


class ContentSimParams(KindParams):
    """Parameters of content similarity."""

    max_items: int = Field(default=100_000, ge=1, description="a cut: the first by id are kept")

    @property
    def promise(self) -> Promise:
        """A bounded number of lists of lower-case tags."""
        return Promise(max_lists=self.max_items, lower_case=True)


def list_tags(catalog: pl.DataFrame, params: ContentSimParams) -> Built:
    """List each item's tags: trimmed, lower-cased, distinct in order, none empty; items by id.

    `catalog`: item_id String, tags List(String), in file order, rows of this surface only (`rows_of_surface`). Of
    several rows with one id the last counts; items without tags are dropped; the first `max_items` by id are kept.
    """
    last = catalog.unique("item_id", keep="last").sort("item_id")
    tags = {item: found for item, raw in last.select("item_id", "tags").iter_rows() if (found := clean_tags(raw))}
    kept = dict(list(tags.items())[: params.max_items])
    item_ids = pl.Series(sorted({tag for found in kept.values() for tag in found}), dtype=pl.String)
    codes = {tag: code for code, tag in enumerate(item_ids)}
    flat = np.array([codes[tag] for found in kept.values() for tag in found], np.uint32)
    found = Rows(
        shape=SHAPE,
        keys=np.arange(len(kept), dtype=np.uint32),
        offsets=np.cumsum([0, *(len(found) for found in kept.values())], dtype=np.int64),
        members=flat,
        values=np.zeros(len(flat), np.int64),
        key_ids=pl.Series(list(kept), dtype=pl.String),
        member_ids=item_ids,
    )
    facts = {
        "catalog_rows": len(catalog),
        "repeated_ids": len(catalog) - len(last),
        "without_tags": len(last) - len(tags),
    }
    numbers = facts | {"cut_items": len(tags) - len(kept), "distinct_tags": len(item_ids)}
    return Built(found, LeftOut(""), numbers)


def rows_of_surface(catalog: pl.DataFrame, surface: str) -> pl.DataFrame:
    """Return the catalog rows whose `namespace` is blank, null or this surface."""
    return catalog.filter(pl.col("namespace").is_null() | pl.col("namespace").is_in(["", surface]))


def clean_tags(raw: list[str | None] | None) -> list[str]:
    """Return the tags trimmed, lower-cased, distinct in their first order, without empty ones."""
    trimmed = (lower(tag.strip(WHITE_SPACE)) for tag in raw or [] if tag is not None)
    return list(dict.fromkeys(tag for tag in trimmed if tag))


def lower(text: str) -> str:
    """Lower-case character by character, without context or expansion, as the contract's other writers do."""
    return text.lower() if text.isascii() else "".join(char.lower()[:1] for char in text)
