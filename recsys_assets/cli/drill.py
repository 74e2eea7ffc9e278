"""Drills: runbooks executed on a scratch store, with the exit code of each command checked."""

import json
import os
import shlex
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import click
import msgspec

from recsys_assets.cli.main import EXIT_REFUSED, recsys_assets
from recsys_assets.cli.output import echo
from recsys_assets.errors import ConfigurationError, RecsysAssetsError
from recsys_assets.identity import Target, utc_now
from recsys_assets.serving.reader import Reader
from recsys_assets.storage.filesystem import FilesystemStore

TARGET = Target("drill", "home")
BAD_ITEM = "undefined"
_SESSIONS, _ITEMS_SEEN, _ITEMS = 40, 6, 12
_CONFIG = """\
[storage]
root = "store"
[raw]
exposures = "raw/{{day}}*.jsonl"
catalog = "catalog.jsonl"
[partitions]
start = {first_day}
[artifacts]
window_days = {window_days}
[rollback]
automatic = "act"
[[targets]]
tenant = "{target.tenant}"
surface = "{target.surface}"
"""
_SHOWN_ITEMS = 5
_ASKED = 2000
_WHY = ("--reason", "drill: items without ids")


class ScratchShop(msgspec.Struct, frozen=True):
    """A shop whose configuration, events and store are in one folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "recsys.toml"

    @property
    def store(self) -> Path:
        """The root of the store."""
        return self.folder / "store"

    def send(self, day: date, *, is_bad: bool = False, ids: str = "item") -> None:
        """Write the events of a day, replacing those sent before. On a bad day half of the items have no id."""
        lines = (json.dumps(event) + "\n" for event in _events(day, is_bad=is_bad, ids=ids))
        (self.folder / "raw" / f"{day}.jsonl").write_text("".join(lines), encoding="utf-8")


def open_scratch_shop(folder: Path, *, first_day: date, window_days: int = 28) -> ScratchShop:
    """Return a new shop in an empty folder, with a catalog and without events."""
    (folder / "raw").mkdir(parents=True)
    shop = ScratchShop(folder)
    text = _CONFIG.format(first_day=first_day, target=TARGET, window_days=window_days)
    shop.config.write_text(text, encoding="utf-8")
    rows = ({"item_id": f"item-{n}", "tags": [f"group-{n % 3}", f"colour-{n % 4}"]} for n in range(_ITEMS))
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return shop


def _events(day: date, *, is_bad: bool, ids: str) -> Iterator[dict[str, object]]:
    """Yield events that pass every gate. Bad events are well-formed, too."""
    for session in range(_SESSIONS):
        for position in range(_ITEMS_SEEN):
            number = (session + position * (1 + day.day % 3)) % _ITEMS
            yield {
                "v": 1,
                "ts": f"{day}T{8 + session % 12:02d}:{session:02d}:{position:02d}Z",
                "tenant": TARGET.tenant,
                "surface": TARGET.surface,
                "session_id": f"session-{session}",
                "user_id": f"user-{session % 10}",
                "item_id": BAD_ITEM if is_bad and position % 2 else f"{ids}-{number}",
                "rank": position,
            }


@click.group("drill")
def drill() -> None:
    """Practise a runbook on a scratch store, without touching the configured store."""


_folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="empty or new folder in which the scratch store is kept for manual use; default: removed at the end",
)
_pause_option = click.option("--pause", is_flag=True, help="wait for Enter before each command")


@drill.command("bad-release")
@_folder_option
@_pause_option
def run_bad_release(*, folder: Path | None, pause: bool) -> int:
    """Ship a bad release that passes every gate, notice it, roll it back, and let the next good day ship.

    Follows docs/runbooks/bad-release.md. Exits with code 2 if a step has an unexpected result.
    """
    with _scratch_folder(folder) as scratch, _without_dagster_home():
        drilled = _Drill(open_scratch_shop(scratch, first_day=utc_now().date() - timedelta(days=3)), pause)
        _walk(drilled)
        drilled.say(f"Done. The store is in {scratch}: try --config {drilled.shop.config}." if folder else "Done.")
    return 0


@drill.command("bad-answers")
@_folder_option
@_pause_option
def run_bad_answers(*, folder: Path | None, pause: bool) -> int:
    """Ship a release with unknown ids, and see it rolled back once because of the service's empty answers.

    Follows docs/runbooks/empty-recommendations.md. Exits with code 2 if a step has an unexpected result.
    """
    with _scratch_folder(folder) as scratch, _without_dagster_home():
        shop = open_scratch_shop(scratch, first_day=utc_now().date() - timedelta(days=2), window_days=1)
        _walk_bad_answers(_Drill(shop, pause))
    return 0


def _walk_bad_answers(drilled: "_Drill") -> None:
    today = utc_now().date()
    before, bad = (today - timedelta(days=days) for days in (2, 1))
    drilled.say(f"{before} is a good day, and ships. A service counts its answers.")
    drilled.shop.send(before)
    drilled.build("--start", str(before))
    service = Reader(FilesystemStore(drilled.shop.store), TARGET.tenant, TARGET.surface, heartbeat="web-1")
    _ask(service, is_known=True)

    drilled.say(
        f"{bad}: the events use other ids for every item. Every gate passes, it ships, and lookups find nothing."
    )
    drilled.shop.send(bad, ids="sku")
    drilled.build("--start", str(bad))
    _ask(service, is_known=False)

    drilled.say("The rates are in the store. The sensor `answers` evaluates them every minute.")
    drilled.command("answers status")
    drilled.say("It rolls back automatically, marks the release bad and holds. This command does the same by cron:")
    drilled.command("answers decide", "--reason", "drill: cron")
    _ask(service, is_known=True)

    drilled.say("Only once: the next release stays live until a person releases the hold.")
    drilled.command("answers decide", "--reason", "drill: cron")
    drilled.command("log", "--limit", "1")
    drilled.command("release-hold", "--reason", "drill: the ids are fixed")
    drilled.say("Done.")


def _ask(service: Reader, *, is_known: bool) -> None:
    """Refresh a service, make as many lookups as the guard needs, and report how many found something."""
    service.refresh()
    with service.snapshot() as live:
        answers = [live.neighbors(f"item-{n % _ITEMS}") for n in range(_ASKED)]
    service.beat()
    echo(f"a service found recommendations for {sum(map(bool, answers))} of {len(answers)} lookups")
    if all(answers) is not is_known:
        raise click.ClickException("the drill failed: that is not what should be live now")


def _walk(drilled: "_Drill") -> None:
    today = utc_now().date()
    before, bad, after = (today - timedelta(days=days) for days in (3, 2, 1))
    drilled.say(f"{before} is a good day, and ships.")
    drilled.shop.send(before)
    drilled.build("--start", str(before))
    drilled.expect(is_bad=False)

    drilled.say(f"{bad}: a page loses the ids of its items. Every line is valid, every gate passes, and it ships.")
    drilled.shop.send(bad, is_bad=True)
    drilled.build("--start", str(bad))
    drilled.expect(is_bad=True)

    drilled.say("A user reports it. Look first: what shipped when, and what would a rollback do? Nothing changes.")
    drilled.command("log", "--limit", "3")
    drilled.command("rollback", "--to", "previous", *_WHY, "--dry-run")
    drilled.expect(is_bad=True)

    drilled.say("Roll back. The earlier release is verified first; nothing is recomputed.")
    seconds = drilled.command("rollback", "--to", "previous", *_WHY)
    drilled.expect(is_bad=False)
    drilled.say(f"That took {seconds:.2f} s. The bad release is marked bad: rebuilding its day ships nothing.")
    drilled.build("--start", str(bad), code=EXIT_REFUSED)
    drilled.expect(is_bad=False)

    drilled.say(
        f"The page is fixed, its day is sent again, and {after} is good. It ships, and the hold ends automatically."
    )
    drilled.shop.send(bad)
    drilled.shop.send(after)
    drilled.build("--start", str(bad), "--end", str(after))
    drilled.expect(is_bad=False)
    drilled.command("status")
    drilled.command("verify")


class _Drill(msgspec.Struct, frozen=True):
    """Steps of a drill on a shop, with an optional pause before each command."""

    shop: ScratchShop
    pause: bool

    def say(self, text: str) -> None:
        """Print a description of the next step."""
        click.secho(f"\n{text}", bold=True)

    def build(self, *arguments: str, code: int = 0) -> None:
        """Build days of the target."""
        self.command("run", *arguments, code=code)

    def command(self, name: str, *arguments: str, code: int = 0) -> float:
        """Print a command, run it, check its exit code, and return its seconds."""
        line = [
            *name.split(),
            "--config",
            str(self.shop.config),
            "--tenant",
            TARGET.tenant,
            "--surface",
            TARGET.surface,
        ]
        line += arguments
        click.secho(f"$ recsys-assets {shlex.join(line)}", fg="cyan")
        if self.pause:
            click.pause("press Enter")
        started = perf_counter()
        try:
            exit_code = recsys_assets.main(line, prog_name="recsys-assets", standalone_mode=False) or 0
        except RecsysAssetsError as error:
            echo(f"{type(error).__name__}: {error}", err=True)
            exit_code = EXIT_REFUSED
        if exit_code != code:
            raise click.ClickException(f"the drill failed: `{name}` exited with code {exit_code}, expected {code}")
        return perf_counter() - started

    def expect(self, *, is_bad: bool) -> None:
        """Print what a service recommends now, and check it."""
        reader = Reader(FilesystemStore(self.shop.store), TARGET.tenant, TARGET.surface)
        reader.refresh()
        with reader.snapshot() as live:
            items = [row.item_id for row in live.top_items(_SHOWN_ITEMS)]
        echo(f"a service recommends: {', '.join(items)}")
        if (BAD_ITEM in items) is not is_bad:
            raise click.ClickException("the drill failed: that is not what should be live now")


@contextmanager
def _scratch_folder(folder: Path | None) -> Generator[Path]:
    """Yield an empty folder, so that a drill cannot touch an existing store."""
    if folder is None:
        with TemporaryDirectory(prefix="recsys-drill-") as made:
            yield Path(made)
        return
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"--folder {folder} is not empty: choose a new folder")
    yield folder.absolute()


@contextmanager
def _without_dagster_home() -> Generator[None]:
    """Unset $DAGSTER_HOME, so that a drill's runs do not appear in the history of its instance."""
    home = os.environ.pop("DAGSTER_HOME", None)
    try:
        yield
    finally:
        if home is not None:
            os.environ["DAGSTER_HOME"] = home
