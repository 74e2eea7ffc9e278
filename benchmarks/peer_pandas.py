"""All kinds in pandas, written as one would by hand, and as JSON lines.

python benchmarks/peer_pandas.py EXPOSURES.jsonl
"""

import json
from pathlib import Path

import pandas as pd
from generate import CATALOG
from result import MAX_NEIGHBORS, MIN_SUPPORT, Result, digests_of_lines, main_of, out_folder


def main() -> None:
    """Run every phase, then hash what was written."""
    path = main_of("peer_pandas.py")
    out = out_folder(path, "pandas")
    result = Result(facts={"pandas": pd.__version__}, did={"kinds": "5 of 5", "JSON": "lines"})
    with result.phase("parse"):
        events = _parse(path)
    known = events[events["user_id"] != ""]
    with result.phase("popularity"):
        counts = events.groupby("item_id", sort=True, observed=True).size().reset_index(name="count")
        best = counts.sort_values(["count", "item_id"], ascending=[False, True])
        best.to_json(out / "popularity.jsonl", orient="records", lines=True)
    with result.phase("cooc"):
        _write(_cooc(events), out / "cooc.jsonl", "item_id", "other", "count")
    with result.phase("implicit"):
        _write(_scores(known), out / "implicit.jsonl", "user_id", "item_id", "score")
    with result.phase("session_seq"):
        order = ["user_id", "ts", "session_id", "rank", "item_id", "request_id"]
        ordered = known.sort_values(order)
        later = _scores(ordered[ordered["user_id"].duplicated()])
        _write(later, out / "session_seq.jsonl", "user_id", "item_id", "score")
    with result.phase("content_sim"):
        _tags(path).to_json(out / "content_sim.jsonl", orient="records", lines=True)
    result.measured()
    result.digests = digests_of_lines(out)
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
    return counts.sort_values(["user_id", "score", "item_id"], ascending=[True, False, True])


def _tags(path: str) -> pd.DataFrame:
    rows = pd.read_csv(Path(path).with_name(CATALOG), keep_default_na=False)
    split = rows["tags"].str.lower().str.split("[,;|]", regex=True)
    rows["tags"] = [[*dict.fromkeys(tag.strip() for tag in tags if tag.strip())] for tags in split]
    return rows[["item_id", "tags"]].sort_values("item_id")


def _write(rows: pd.DataFrame, path: Path, owner: str, member: str, number: str) -> None:
    """Write a line for each owner; the rows are in order."""
    with path.open("w", encoding="utf-8") as file:
        for name, group in rows.groupby(rows[owner].to_numpy(), sort=True):
            pairs = zip(group[member], group[number].tolist(), strict=True)
            items = [{"item_id": other, number: count} for other, count in pairs]
            file.write(json.dumps({owner: name, "items": items}) + "\n")


if __name__ == "__main__":
    main()
