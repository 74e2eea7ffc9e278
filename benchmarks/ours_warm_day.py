"""This project's `run` in a warm process: the function that the command calls for a day, after it has run a small one.

    python benchmarks/ours_warm_day.py EXPOSURES.jsonl

`ours.py` calls the stages one by one, to time each. Here two kinds are built and judged at a time, as by the command:
this is what a day takes in a process that lives long.
"""

import sys
from importlib.metadata import version
from pathlib import Path

from generate import DAY, generate
from ours import WARM_UP_EVENTS, digests_of
from result import Result, main_of
from workspace import DID, open_workspace, version_digests

from recsys_assets.pipeline.run_day import run_day
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.open import open_store

NAME = "ours-warm-day"


def main() -> None:
    """Warm up, run the day, then hash what came out."""
    data = Path(main_of("ours_warm_day.py")).parent
    small = generate(WARM_UP_EVENTS, data.parent / str(WARM_UP_EVENTS)).parent
    run_whole_day(open_workspace(small, NAME), Result())
    folder = open_workspace(data, NAME)
    result = Result(facts={name: version(name) for name in ("recsys-assets", "polars", "numba", "numpy")}, did=DID)
    run_whole_day(folder, result)
    result.measured()
    registry = folder / "store" / "registry"
    result.digests |= version_digests(registry) | digests_of(registry)
    result.hand_over()


def run_whole_day(folder: Path, result: Result) -> None:
    """Build, gate and ship the day. Exits with the lines of assets that failed, if any."""
    settings = load_settings(folder / "recsys.toml")
    store = open_store(settings.resolve(settings.storage.root))
    with result.phase("day"):
        lines = list(run_day(store, settings, settings.targets, DAY))
    if failed := [line.text for line in lines if line.failed]:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
