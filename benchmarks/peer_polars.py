"""All kinds as lazy Polars on its streaming engine, from a Parquet file that is parsed to first, written as JSON lines.

python benchmarks/peer_polars.py EXPOSURES.jsonl
"""

from pathlib import Path

import polars as pl
from generate import CATALOG
from result import MAX_NEIGHBORS, MIN_SUPPORT, Result, digests_of_lines, main_of, out_folder

SCHEMA = {
    "ts": pl.String,
    "session_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "request_id": pl.String,
    "rank": pl.Int64,
}
ORDER = ("user_id", "ts", "session_id", "rank", "item_id", "request_id")


def main() -> None:
    """Run every phase, then hash what was written."""
    path = main_of("peer_polars.py")
    out = out_folder(path, "polars")
    result = Result(facts={"polars": pl.__version__}, did={"day stored": "Parquet", "kinds": "5 of 5", "JSON": "lines"})
    day = out / "day.parquet"
    with result.phase("parse"):
        pl.scan_ndjson(path, schema=SCHEMA).sink_parquet(day)
    events = pl.scan_parquet(day)
    known = events.filter(pl.col("user_id") != "")
    queries = {
        "popularity": events.group_by("item_id")
        .agg(count=pl.len())
        .sort(["count", "item_id"], descending=[True, False]),
        "cooc": neighbors(events),
        "implicit": scores(known),
        "session_seq": scores(known.sort(ORDER).filter(pl.col("user_id") == pl.col("user_id").shift())),
        "content_sim": tags(path),
    }
    for name, query in queries.items():
        with result.phase(name):
            query.sink_ndjson(out / f"{name}.jsonl")
    result.measured()
    result.digests = digests_of_lines(out)
    result.hand_over()


def neighbors(events: pl.LazyFrame) -> pl.LazyFrame:
    """Join the distinct items of a session with themselves, count pairs, keep each item's best."""
    visited = events.select("session_id", "item_id").unique()
    pairs = visited.join(visited, on="session_id", suffix="_other").filter(pl.col("item_id") < pl.col("item_id_other"))
    half = pairs.group_by("item_id", other="item_id_other").agg(count=pl.len()).filter(pl.col("count") >= MIN_SUPPORT)
    both = pl.concat([half, half.select(item_id="other", other="item_id", count="count")])
    best = both.sort(["item_id", "count", "other"], descending=[False, True, False])
    listed = best.group_by("item_id").agg(items=pl.struct(item_id="other", count="count").head(MAX_NEIGHBORS))
    return listed.sort("item_id")


def scores(events: pl.LazyFrame) -> pl.LazyFrame:
    """Count events of each user and item, most first."""
    counted = events.group_by("user_id", "item_id").agg(score=pl.len())
    best = counted.sort(["user_id", "score", "item_id"], descending=[False, True, False])
    return best.group_by("user_id").agg(items=pl.struct("item_id", "score")).sort("user_id")


def tags(path: str) -> pl.LazyFrame:
    """List the distinct tags of each item of the catalog."""
    rows = pl.scan_csv(Path(path).with_name(CATALOG), schema_overrides={"namespace": pl.String})
    split = rows.select("item_id", tags=pl.col("tags").str.to_lowercase().str.replace_all("[,;]", "|").str.split("|"))
    kept = split.with_columns(pl.col("tags").list.eval(pl.element().str.strip_chars()).list.unique(maintain_order=True))
    return kept.sort("item_id")


if __name__ == "__main__":
    main()
