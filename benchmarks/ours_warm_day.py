"""This project's `run` in a warm process: the function that the command calls for a day, after it has run a small one.

    python benchmarks/ours_warm_day.py EXPOSURES.jsonl

`ours.py` calls the stages one by one, to time each. Here two kinds are built and judged at a time, as by the command:
this is what a day takes in a process that lives long.
"""

import sys
from pathlib import Path

from generate import DAY
from ours import measure
from result import Result

from recsys_assets.pipeline.run_day import run_day
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.open import open_store


def main() -> None:
    """Time the day as a whole."""
    measure("ours-warm-day", run_whole_day)


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
