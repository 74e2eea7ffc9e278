"""What every engine hands over: seconds per phase, what it did, and rows per kind, hashed the same way for all."""

import hashlib
import json
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time

import polars as pl

MIN_SUPPORT = 1  # at 2 the reference keeps items without neighbours, which others drop
MAX_NEIGHBORS = 50
MEASURED = "MEASURED"

# What a day's work may consist of. Each engine names what it did of it, and how; what it does not name, it did not do.
DEEDS = ("lines checked", "bad lines kept", "day stored", "kinds", "JSON", "hashed", "gated", "shipped", "recorded")
KINDS = ("popularity", "cooc", "implicit", "session_seq", "content_sim")


@dataclass(slots=True)
class Result:
    """What one engine did: how long each phase took, and what came out of it."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    work_cpu: float = 0.0  # processor seconds of this process in all phases
    digests: dict[str, str] = field(default_factory=dict[str, str])
    facts: dict[str, str] = field(default_factory=dict[str, str])
    did: dict[str, str] = field(default_factory=dict[str, str])  # by DEEDS

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time what happens inside as phase `name`."""
        started, spent = perf_counter(), process_time()
        yield
        self.work_cpu += process_time() - spent
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def measured(self) -> None:
        """Report to the runner that the work is over: what follows (hashing to compare) is not measured."""
        print(MEASURED, flush=True)

    def hand_over(self) -> None:
        """Print everything as one JSON line, the last one of the process."""
        print(json.dumps(asdict(self)), flush=True)


def digest(rows: pl.DataFrame) -> str:
    """Return SHA-256 over rows of text and whole numbers, in their order, one line each, fields apart by tabs."""
    hasher = hashlib.sha256()
    line = pl.concat_str([pl.col(name).cast(pl.String) for name in rows.columns], separator="\t") + "\n"
    for part in rows.iter_slices(1_000_000):
        hasher.update(part.select(line.str.join(""))[0, 0].encode())
    return f"{rows.height} rows {hasher.hexdigest()[:16]}"


def counts_alone(neighbors: pl.DataFrame) -> pl.DataFrame:
    """Reduce (item_id, other, count) to sorted (item_id, count): what engines agree on that break ties at will."""
    return neighbors.select("item_id", "count").sort("item_id", "count")


def digests_of_lines(folder: Path) -> dict[str, str]:
    """Hash what was written as JSON lines, `<kind>.jsonl` or a folder of parts: each kind, and the counts of cooc."""
    found: dict[str, str] = {}
    for kind in KINDS:
        path = folder / f"{kind}.jsonl"
        parts = sorted(path.glob("part-*")) if path.is_dir() else [path]
        rows = flat_rows(pl.concat([pl.read_ndjson(part) for part in parts if part.stat().st_size]), kind)
        found[kind] = digest(rows)
        if kind == "cooc":
            found["cooc_counts"] = digest(counts_alone(rows))
    return found


def flat_rows(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Turn an artifact's rows into flat ones, by owner; inner lists keep their order, and so does popularity."""
    if kind == "popularity":
        return rows.select("item_id", "count")
    if kind == "content_sim":
        return rows.select("item_id", pl.col("tags").list.join("|")).sort("item_id")
    owner, number = ("item_id", "count") if kind == "cooc" else ("user_id", "score")
    pairs = rows.select(pl.col(owner).alias("owner"), "items").explode("items").drop_nulls("items")
    pairs = pairs.sort("owner", maintain_order=True).unnest("items")
    return pairs.select(pl.col("owner").alias(owner), pl.col("item_id").alias("other"), number)


def out_folder(exposures: str, engine: str) -> Path:
    """Make the empty folder that `engine` writes into, beside the day; the runner removes it."""
    folder = Path(exposures).parent / engine
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def main_of(run: str) -> str:
    """Return the path of the exposures file from the command line of engine `run`."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {run} EXPOSURES.jsonl")
    return sys.argv[1]
