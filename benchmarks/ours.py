"""This project's own path in a warm process: JSON lines in, gated artifacts and a swapped pointer out, without Dagster.

    python benchmarks/ours.py EXPOSURES.jsonl

The functions are those that the Dagster assets call, one by one; a small day goes first, so that what is compiled at
the first call is compiled. `run_day` is the one place that knows them.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from generate import DAY, SURFACE, TENANT, generate
from result import Result, counts_alone, digest, flat_rows, main_of
from workspace import DID, open_workspace, read_blobs, version_digests

from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.journal import Actor
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.open import open_store

WARM_UP_EVENTS = 20_000


def main() -> None:
    """Time each stage of the day."""
    measure("ours", run_day)


def measure(name: str, run: Callable[[Path, Result], None]) -> None:
    """Run a small day to warm up, then the day in question in the workspace `name`, and hash what came out."""
    data = Path(main_of(sys.argv[0])).parent
    small = generate(WARM_UP_EVENTS, data.parent / str(WARM_UP_EVENTS)).parent
    run(open_workspace(small, f"{name}-warm-up"), Result())
    folder = open_workspace(data, name)
    result = Result(facts={name: version(name) for name in ("recsys-assets", "polars", "numba", "numpy")}, did=DID)
    run(folder, result)
    result.measured()
    registry = folder / "store" / "registry"
    result.digests |= version_digests(registry) | digests_of(registry)
    result.hand_over()


def run_day(folder: Path, result: Result) -> None:
    """Build, gate and ship the day, timing each stage."""
    settings = load_settings(folder / "recsys.toml")
    row = settings.find(TENANT, SURFACE)
    store = open_store(settings.resolve(settings.storage.root))
    with result.phase("parse"):
        build_raw(store, settings, DAY)
    with result.phase("canonical"):  # its gates included: a new day is judged before its record is written
        build_canonical(DayContext(store, settings, row, DAY))
    for kind in settings.artifacts.kinds:
        with result.phase(kind):
            build_artifact(DayContext(store, settings, row, DAY, run_id="benchmark"), kind)
        with result.phase("gates"):
            judge_artifact(DayContext(store, settings, row, DAY), kind)
    with result.phase("manifest"):
        ship_day(
            DayContext(store, settings, row, DAY, now=lambda: datetime.now(UTC)), by=Actor("benchmark", "measured")
        )


def digests_of(registry: Path) -> dict[str, str]:
    """Hash the rows of the artifacts that the pointer names, as those of the peers are."""
    found: dict[str, str] = {}
    for kind, path in read_blobs(registry).items():
        document: dict[str, Any] = json.loads(path.read_bytes())
        body = document[{"cooc": "neighbors", "implicit": "users", "session_seq": "users"}.get(kind, "items")]
        rows = flat_rows(pl.DataFrame(body, infer_schema_length=None), kind)
        found[kind] = digest(rows)
        if kind == "cooc":
            found["cooc_counts"] = digest(counts_alone(rows))
    return found


if __name__ == "__main__":
    sys.exit(main())
