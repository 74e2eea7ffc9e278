"""cooc as the library `implicit` does it (ItemItemRecommender): the same counts, ties broken at will.

python benchmarks/peer_implicit.py EXPOSURES.jsonl
"""

from importlib.metadata import version

import numpy as np
import polars as pl
from implicit.nearest_neighbours import ItemItemRecommender
from result import MAX_NEIGHBORS, MIN_SUPPORT, Result, digest, main_of
from scipy.sparse import csr_matrix


def main() -> None:
    """Code the ids, fit, read the neighbours out, then hash the counts."""
    path = main_of("peer_implicit.py")
    result = Result(facts={"implicit": version("implicit")}, did={"kinds": "cooc alone, ties at will"})
    with result.phase("parse"):
        visits = pl.scan_ndjson(path, schema={"session_id": pl.String, "item_id": pl.String}).collect()
    with result.phase("code"):
        items = visits["item_id"].unique().sort()
        coded = visits.select(
            session=pl.col("session_id").rank("dense") - 1,
            item=pl.col("item_id").replace_strict(items, pl.arange(items.len(), eager=True), return_dtype=pl.UInt32),
        ).unique()
        ones = np.ones(coded.height)
        matrix = csr_matrix((ones, (coded["session"].to_numpy(), coded["item"].to_numpy())))
    with result.phase("cooc_fit"):
        # One more than kept: an item is its own nearest neighbour.
        model = ItemItemRecommender(K=MAX_NEIGHBORS + 1, num_threads=0)
        model.fit(matrix, show_progress=False)
    with result.phase("cooc_rows"):
        similarity = model.similarity.tocoo()
    result.measured()
    result.digests["cooc_counts"] = digest(_counts(similarity.row, similarity.col, similarity.data, items))
    result.hand_over()


def _counts(row: np.ndarray, column: np.ndarray, count: np.ndarray, items: pl.Series) -> pl.DataFrame:
    """Drop the diagonal and rare pairs, cut, and put names to the codes."""
    others = pl.DataFrame({"row": row, "column": column, "count": count.astype(np.int64)}).filter(
        pl.col("row") != pl.col("column"), pl.col("count") >= MIN_SUPPORT
    )
    best = (
        others.sort("row", "count", descending=[False, True]).group_by("row", maintain_order=True).head(MAX_NEIGHBORS)
    )
    return best.select(item_id=items.gather(best["row"].cast(pl.UInt32)), count="count").sort("item_id", "count")


if __name__ == "__main__":
    main()
