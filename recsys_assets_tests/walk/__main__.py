"""Walk through both UIs as people do, by a real browser on a real Dagster and console; ends 1 if a step fails.

    python -m recsys_assets_tests.walk [--only NAME] [--year] [--pictures FOLDER]

Limits of time grow with what else the machine does, which is printed beside what was measured. Steps come in order
and build on each other; one that fails stops no other. Pictures of what was seen stay in FOLDER.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from recsys_assets_tests.walk import console_steps, dagster_steps, project_steps
from recsys_assets_tests.walk.scene import open_walk

STEPS = {
    "dagster: backfill of a group with a gap and a bad day": dagster_steps.backfill_of_a_group,
    "dagster: fix the input and execute again": dagster_steps.fix_and_execute_again,
    "dagster: rollback behind 20 queued builds": dagster_steps.rollback_past_a_queue,
    "dagster: a refused day in two clicks": dagster_steps.refused_day_in_two_clicks,
    "console: a refused day in two clicks": console_steps.refused_day_in_two_clicks,
    "dagster: a stale target and its cause in two clicks": dagster_steps.stale_target_in_two_clicks,
    "console: a stale target and its cause": console_steps.stale_target_and_its_cause,
    "dagster: a hold from the launchpad": dagster_steps.hold_from_the_launchpad,
    "console: the hold released in the browser": console_steps.hold_released_in_the_browser,
    "dagster: automation explains itself": dagster_steps.automation_explains_itself,
    "console: every page in every look, with axe": console_steps.every_page_in_every_look,
    "console: home of 1,000 targets": console_steps.long_home_is_small_and_quick,
    "dg: the component in a foreign project": project_steps.component_in_a_foreign_project,
}
YEAR = {"dagster: a year in one run": dagster_steps.year_in_one_run}


def main() -> int:
    """Take every step, and return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="steps whose name holds this")
    parser.add_argument("--year", action="store_true", help="build a year in one run, too (minutes)")
    parser.add_argument("--pictures", type=Path, help="folder of the pictures; default: a temporary one")
    asked = parser.parse_args()
    steps = {name: step for name, step in (STEPS | (YEAR if asked.year else {})).items() if asked.only in name}
    pictures = asked.pictures or Path(tempfile.mkdtemp(prefix="walk-pictures-"))
    pictures.mkdir(parents=True, exist_ok=True)
    scene = tempfile.TemporaryDirectory(prefix="walk-", ignore_cleanup_errors=True)
    with scene as folder, open_walk(Path(folder), pictures) as walk:
        failed = sum(not _take(name, step, walk) for name, step in steps.items())
    _print(f"{len(steps) - failed} of {len(steps)} steps done; pictures are in {pictures}")
    return 1 if failed else 0


def _take(name, step, walk):
    began = time.monotonic()
    try:
        step(walk)
    except Exception:  # noqa: BLE001 - whatever stops a step is its failure, and the next one is still worth a look
        _print(f"FAILED {name}\n{traceback.format_exc()}")
        walk.dagster.screenshot(path=walk.pictures / f"failed-{step.__name__}.png")
        return False
    _print(f"ok     {name}, {time.monotonic() - began:.0f} s")
    return True


def _print(text):
    print(text, flush=True)  # noqa: T201 - a script


if __name__ == "__main__":
    sys.exit(main())
