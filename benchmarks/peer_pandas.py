"""The same kernels in pandas, written as one would by hand.

python benchmarks/peer_pandas.py EXPOSURES.jsonl
"""

import pandas as pd
import polars as pl
from result import MAX_ITEMS_PER_USER, MAX_NEIGHBORS, MIN_SUPPORT, Result, counts_alone, digest, main_of


def main() -> None:
    """Run every phase, then hash what came out."""
    path = main_of("peer_pandas.py")
    result = Result(facts={"pandas": pd.__version__})
    with result.phase("parse"):
        events = _parse(path)
    known = events[events["user_id"] != ""]
    frames: dict[str, pd.DataFrame] = {}
    with result.phase("popularity"):
        counts = events.groupby("item_id", sort=True, observed=True).size().reset_index(name="count")
        frames["popularity"] = counts.sort_values(["count", "item_id"], ascending=[False, True])
    with result.phase("cooc"):
        frames["cooc"] = _cooc(events)
    with result.phase("implicit"):
        frames["implicit"] = _scores(known)
    with result.phase("session_seq"):
        order = ["user_id", "ts", "session_id", "rank", "item_id", "request_id"]
        sorted_events = known.sort_values(order)
        frames["session_seq"] = _scores(sorted_events[sorted_events["user_id"].duplicated()])
    result.measured()
    for name, frame in frames.items():
        result.digests[name] = digest(pl.from_pandas(frame))
    result.digests["cooc_counts"] = digest(counts_alone(pl.from_pandas(frames["cooc"])))
    result.hand_over()


def _parse(path: str) -> pd.DataFrame:
    """Read the lines in chunks (whole, ten million lines need tens of gigabytes) and keep the columns needed."""
    columns = ["ts", "user_id", "session_id", "rank", "item_id", "request_id"]
    chunks = pd.read_json(path, lines=True, chunksize=500_000, dtype=False)
    events = pd.concat([chunk[columns] for chunk in chunks], ignore_index=True)
    events["ts"] = pd.to_datetime(events["ts"], utc=True, format="ISO8601")
    return events


def _cooc(events: pd.DataFrame) -> pd.DataFrame:
    visited = events[["session_id", "item_id"]].drop_duplicates()
    pairs = visited.merge(visited, on="session_id", suffixes=("", "_other"))
    pairs = pairs[pairs["item_id"] != pairs["item_id_other"]].rename(columns={"item_id_other": "other"})
    counts = pairs.groupby(["item_id", "other"]).size().reset_index(name="count")
    kept = counts[counts["count"] >= MIN_SUPPORT].sort_values(
        ["item_id", "count", "other"], ascending=[True, False, True]
    )
    return kept.groupby("item_id").head(MAX_NEIGHBORS)


def _scores(events: pd.DataFrame) -> pd.DataFrame:
    counts = events.groupby(["user_id", "item_id"]).size().reset_index(name="score")
    ordered = counts.sort_values(["user_id", "score", "item_id"], ascending=[True, False, True])
    return ordered.groupby("user_id").head(MAX_ITEMS_PER_USER)


if __name__ == "__main__":
    main()
