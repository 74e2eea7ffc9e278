"""Plays a bad day on the demo's store by the commands one would type: refused, shipped by force, undone, healed.

    python examples/demo/scene.py FOLDER

Runs after the week, on one target. Every command is printed before it is run, and is held to the exit code that it
should have; the scene fails if one has not.
"""

import os
import shlex
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

from generate import DAYS, FIRST_DAY, write_broken_day, write_good_day, write_shuffled_day
from rich.console import Console
from show import best_items, read_pointer

TARGET = ("books", "home")
BAD_DAY = FIRST_DAY + timedelta(days=DAYS)
NEXT_DAY = BAD_DAY + timedelta(days=1)
SHUFFLED_DAY = NEXT_DAY + timedelta(days=1)
LATER_DAY = SHUFFLED_DAY + timedelta(days=1)
LOOSE_GATES = "max_bad_share = 1.0"
LOOSE_DAY = '[gates.day]\nmode = "advisory"\n'

CONSOLE = Console(highlight=False, soft_wrap=True)


def main(folder: Path) -> None:
    """Play all acts; exit 1 if one does not end as it should."""
    config = folder / "recsys.toml"
    loose = folder / "recsys-loose.toml"
    text = config.read_text(encoding="utf-8").replace("[raw]\n", f"[raw]\n{LOOSE_GATES}\n")
    loose.write_text(text + LOOSE_DAY, encoding="utf-8")

    say(f"{BAD_DAY}: a new page of the shop sends broken lines, and items called undefined. The gate refuses.")
    write_broken_day(folder, BAD_DAY)
    build(config, BAD_DAY, expected=1)

    say("Somebody in a hurry loosens the gate, and so ships it by force.")
    build(loose, BAD_DAY)
    show(folder)

    say("Rolled back: the release before is verified first, nothing is computed, and automation is held.")
    command("rollback", config, "--to", "previous", "--reason", "items called undefined")
    show(folder)
    command("status", config)

    say("A run that would ship the same content again is refused: the release that was left is marked bad.")
    build(loose, BAD_DAY, expected=1)

    say(f"The page is fixed, its events are sent again, and {NEXT_DAY} is good: it ships, and the hold ends by itself.")
    write_good_day(folder, BAD_DAY)
    write_good_day(folder, NEXT_DAY)
    build(config, BAD_DAY, NEXT_DAY)
    show(folder)

    say(f"{SHUFFLED_DAY} has its items under each other's ids: every line is valid. The days before show that.")
    write_shuffled_day(folder, SHUFFLED_DAY)
    build(config, SHUFFLED_DAY, expected=1)

    say(f"Nothing waits for it: {LATER_DAY} ships, without the day that was refused.")
    write_good_day(folder, LATER_DAY)
    build(config, LATER_DAY)
    show(folder)
    command("log", config, "--limit", "6")


def build(config: Path, start: date, end: date | None = None, *, expected: int = 0) -> None:
    """Run the main job for the scene's target."""
    command("run", config, "--start", str(start), "--end", str(end or start), expected=expected)


def command(name: str, config: Path, *arguments: str, expected: int = 0) -> None:
    """Print a command, run it for the scene's target, and hold it to its exit code."""
    tenant, surface = TARGET
    message = [name, "--config", os.path.relpath(config), "--tenant", tenant, "--surface", surface, *arguments]
    CONSOLE.print(f"\n[bold cyan]$ recsys-assets {shlex.join(message)}[/]")
    program = Path(sys.executable).with_name("recsys-assets")
    code = subprocess.run([program, *message], check=False).returncode  # noqa: S603 - our own command
    if code != expected:
        sys.exit(f"that ended with {code}, not with {expected} as it should")
    if code:
        CONSOLE.print(f"[dim]exit {code}[/]")


def say(text: str) -> None:
    """Say what happens next."""
    CONSOLE.print(f"\n[bold]{text}[/]")


def show(folder: Path) -> None:
    """Show what the scene's target serves now."""
    CONSOLE.print(best_items(read_pointer(folder, *TARGET)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
