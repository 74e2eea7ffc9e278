"""Opens a Dagster home once, alone: two processes that open a fresh one together can break its SQLite files for good.

DAGSTER_HOME=FOLDER python examples/demo/open_home.py
"""

import fcntl
import os
import shutil
from pathlib import Path

import dagster as dg

_ENDS = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
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
            _begin_at_the_newest_event(instance)


def _begin_at_the_newest_event(instance: dg.DagsterInstance) -> None:
    """Let the daemon begin where the log ends: one that finds no beginning warns of it, and begins there, too."""
    names = [f"EVENT_LOG_CONSUMER_CURSOR-{status.value}" for status in _ENDS]
    newest = instance.event_log_storage.get_maximum_record_id()
    if newest and not instance.daemon_cursor_storage.get_cursor_values(set(names)):
        instance.daemon_cursor_storage.set_cursor_values(dict.fromkeys(names, str(newest)))


if __name__ == "__main__":
    main(Path(os.environ["DAGSTER_HOME"]))
