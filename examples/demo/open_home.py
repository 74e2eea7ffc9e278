"""Opens a Dagster home once, alone: two processes that open a fresh one together can break its SQLite files for good.

DAGSTER_HOME=FOLDER python examples/demo/open_home.py
"""

import fcntl
import os
import shutil
from pathlib import Path

import dagster as dg

SETTINGS = Path(__file__).parents[2] / "dagster.yaml"


def main(home: Path) -> None:
    """Make `home`, give it the project's dagster.yaml, and have Dagster create every table."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SETTINGS, home / "dagster.yaml")
    with (home / ".opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with dg.DagsterInstance.get() as instance:
            instance.get_runs_count()
            instance.get_asset_keys()
            instance.all_instigator_state()


if __name__ == "__main__":
    main(Path(os.environ["DAGSTER_HOME"]))
