"""Plays a bad day on the demo's store by the commands one would type: refused, shipped by force, undone, healed.

    python examples/demo/scene.py FOLDER

Runs after the week, on one target. Every command is printed before it is run, and is held to the exit code that it
should have; the scene fails if one has not.
"""

import os
import shlex
import sys
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

from generate import DAYS, first_day, write_broken_day, write_good_day, write_shuffled_day
from rich.console import Console
from show import best_item, best_items, read_pointer

from recsys_assets.cli.main import main as recsys_assets
from recsys_assets.errors import NotFoundError
from recsys_assets.serving.reader import Reader
from recsys_assets.storage.open import open_store

TARGET = ("books", "home")
LOOSE_GATES = "max_bad_share = 1.0"
ROLLOUT = "[rollout]\nenabled = true\n"
LOOSE_DAY = '[gates.day]\nmode = "advisory"\n'

CONSOLE = Console(highlight=False, soft_wrap=True)


def main(folder: Path) -> None:
    """Play all acts; exit 1 if one does not end as it should."""
    config = folder / "recsys.toml"
    loose = folder / "recsys-loose.toml"
    text = config.read_text(encoding="utf-8").replace("[raw]\n", f"[raw]\n{LOOSE_GATES}\n")
    loose.write_text(text + LOOSE_DAY, encoding="utf-8")
    bad, following, shuffled, later = (first_day(folder) + timedelta(days=DAYS + n) for n in range(4))

    say(f"{bad}: a new page of the shop sends broken lines, and items called undefined. The gate refuses.")
    write_broken_day(folder, bad)
    build(config, bad, expected=1)

    say("Somebody in a hurry loosens the gate, and so ships it by force.")
    build(loose, bad)
    show(folder)

    say("Rolled back: the release before is verified first, nothing is computed, and automation is held.")
    command("rollback", config, "--to", "previous", "--reason", "items called undefined")
    show(folder)
    command("status", config)

    say("A run that would ship the same content again is refused: the release that was left is marked bad.")
    build(loose, bad, expected=1)

    say(
        f"The page is fixed, its events are sent again, and {following} is good: it ships, and the hold ends by itself."
    )
    write_good_day(folder, bad)
    write_good_day(folder, following)
    build(config, bad, following)
    show(folder)

    say(f"{shuffled} has its items under each other's ids: every line is valid. The days before show that.")
    write_shuffled_day(folder, shuffled)
    build(config, shuffled, expected=1)

    say(f"Nothing waits for it: {later} ships, without the day that was refused.")
    write_good_day(folder, later)
    build(config, later)
    show(folder)
    command("log", config, "--limit", "6")

    roll_out(folder, later)

    say("The other targets had the same days: they catch up with yesterday.")
    build(config, later, target=None)


def roll_out(folder: Path, day: date) -> None:
    """Ship a release without neighbours to 5 % of the users, and see it end by what a service counts; live stays."""
    config = folder / "recsys-rollout.toml"
    text = (folder / "recsys.toml").read_text(encoding="utf-8")
    config.write_text(text.replace("[artifacts.cooc]\n", "[artifacts.cooc]\nmin_support = 100000\n") + ROLLOUT, "utf-8")
    live = read_pointer(folder, *TARGET)

    say("Somebody asks far too much support of neighbours, so that none is left, and ships that past the gate: to 5 %.")
    build(config, day, expected=1)
    command("ship", config, "--day", str(day), "--override", "not_empty", "--reason", "fewer, better neighbours")

    say("A service follows the rollout, and answers three thousand users, who ask what is seen beside the best item.")
    best = best_item(live)
    with Reader(open_store(str(folder / "store")), *TARGET, rollouts=True, heartbeat="web-1") as reader:
        for number in range(3000):
            with reader.snapshot(f"user-{number}") as release, suppress(NotFoundError):
                release.neighbors(best)
        reader.beat()
    command("rollout decide", config, "--reason", "by cron")
    command("rollout status", config)
    if read_pointer(folder, *TARGET) != live:
        sys.exit("live has moved, as it should not")
    say("It ended by itself, and is marked bad; live never moved.")


def build(
    config: Path,
    start: date,
    end: date | None = None,
    *,
    expected: int = 0,
    target: tuple[str, str] | None = TARGET,
) -> None:
    """Run the main job for the scene's target, or for all."""
    days = ("--start", str(start), "--end", str(end or start))
    command("run", config, *days, expected=expected, target=target)


def command(
    name: str, config: Path, *arguments: str, expected: int = 0, target: tuple[str, str] | None = TARGET
) -> None:
    """Print a command, run it for the scene's target or for all, and hold it to its exit code."""
    named = ["--tenant", target[0], "--surface", target[1]] if target else []
    message = [*name.split(), "--config", os.path.relpath(config), *named, *arguments]
    CONSOLE.print(f"\n[bold cyan]$ recsys-assets {shlex.join(message)}[/]")
    code = run_here(message)
    if code != expected:
        sys.exit(f"that ended with {code}, not with {expected} as it should")
    if code:
        CONSOLE.print(f"[dim]exit {code}[/]")


def run_here(message: list[str]) -> int:
    """Run the command in this process, which has imported it already; return its exit code."""
    given, sys.argv = sys.argv, ["recsys-assets", *message]
    try:
        recsys_assets()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = given
    return 0


def say(text: str) -> None:
    """Say what happens next."""
    CONSOLE.print(f"\n[bold]{text}[/]")


def show(folder: Path) -> None:
    """Show what the scene's target serves now."""
    CONSOLE.print(best_items(read_pointer(folder, *TARGET)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
