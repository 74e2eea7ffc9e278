"""What every engine must hand over: seconds per phase, and flat rows per kind that are hashed the same way for all."""

import hashlib
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import polars as pl

MIN_SUPPORT = 2
MAX_NEIGHBORS = 50
MAX_ITEMS_PER_USER = 500
MEASURED = "MEASURED"


@dataclass(slots=True)
class Result:
    """What one engine did: how long each phase took, and what came out of it."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    digests: dict[str, str] = field(default_factory=dict[str, str])
    facts: dict[str, str] = field(default_factory=dict[str, str])

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time what happens inside as phase `name`."""
        started = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def measured(self) -> None:
        """Report to the runner that the work is over: what follows (hashing to compare) is not measured."""
        print(MEASURED, flush=True)

    def hand_over(self) -> None:
        """Print everything as one JSON line, the last one of the process."""
        print(json.dumps({"seconds": self.seconds, "digests": self.digests, "facts": self.facts}), flush=True)


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


def main_of(run: str) -> str:
    """Return the path of the exposures file from the command line of engine `run`."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {run} EXPOSURES.jsonl")
    return sys.argv[1]
