"""A shop small enough to read: two targets, a few days of JSON lines, a catalog, and the graph built over them."""

import json
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.assemble import BUILD_ALL, build_definitions
from recsys_assets.identity import Target
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.run_day import AssetLine, run_day
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.filesystem import FilesystemStore

FIRST = date(2026, 1, 1)
HOME, CART = Target("shop", "home"), Target("shop", "cart")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

CONFIG = """
[storage]
root = "store"
[raw]
exposures = "raw/{day}*.jsonl*"
catalog = "catalog.jsonl"
max_bad_share = 0.1
[partitions]
start = 2026-01-01
"""
TARGETS = """
[[targets]]
tenant = "shop"
surface = "home"
[[targets]]
tenant = "shop"
surface = "cart"
"""


def day_windows(text: str) -> str:
    """Return a configuration whose windows are days, unless it says otherwise: most tests are about one day."""
    windows = "[artifacts]\nwindow_days = 1\n"
    if windows in text:
        return text
    return text.replace("[artifacts]\n", windows, 1) if "[artifacts]\n" in text else windows + text


@dataclass(frozen=True, slots=True)
class DayRun:
    """What became of a day that was run without Dagster: a line about each asset."""

    lines: tuple[AssetLine, ...]

    @property
    def success(self) -> bool:
        return not any(line.failed for line in self.lines)

    @property
    def message(self) -> str:
        """What the lines of a person's terminal say."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class SmallShop:
    """Files in a folder, the configuration over them, and one Dagster instance, or None where nothing asks for it."""

    folder: Path
    instance: dg.DagsterInstance | None

    @property
    def settings(self) -> Settings:
        return load_settings(self.folder / "recsys.toml")

    @property
    def store(self) -> FilesystemStore:
        return FilesystemStore(self.folder / "store")

    def configure(self, extra: str = "", *, targets: str = TARGETS) -> None:
        (self.folder / "recsys.toml").write_text(day_windows(CONFIG + extra + targets))

    def write(self, day: date, lines: Iterable[str], *, name: str = "") -> None:
        raw = self.folder / "raw"
        raw.mkdir(exist_ok=True)
        (raw / f"{day}{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def build(self, day: date, *, job: str = BUILD_ALL, selection: list[dg.AssetKey] | None = None) -> Any:
        return self._job(job).execute_in_process(
            partition_key=day.isoformat(),
            instance=self.instance,
            raise_on_error=False,
            run_config=QUIET,
            asset_selection=selection,
        )

    def run(self, day: date, *, only: Target | None = None) -> DayRun:
        """Build, gate and ship a day without Dagster: half the work, where the test is not about Dagster."""
        settings = self.settings
        rows = [row for row in settings.targets if only in (None, row.target)]
        store = open_configured_store(settings)
        return DayRun(tuple(run_day(store, settings, rows, day, pause=lambda _: None)))

    def operate(self, job: str, op: str, config: dict[str, Any]) -> Any:
        run_config = {**QUIET, "ops": {op: {"config": config}}}
        return self._job(job).execute_in_process(instance=self.instance, raise_on_error=False, run_config=run_config)

    def _job(self, name: str) -> dg.JobDefinition:
        file = self.folder / "recsys.toml"
        return _definitions(file, file.read_text()).resolve_job_def(name)

    def live(self, target: Target = HOME) -> LivePointer | None:
        return read_current(self.store, target)


@lru_cache(maxsize=2)
def _definitions(file: Path, _text: str) -> dg.Definitions:
    """Return what a configuration defines, once while it stays as it is: to build it takes longer than most jobs."""
    return build_definitions(load_settings(file))


def open_shop(folder: Path, instance: dg.DagsterInstance | None = None) -> SmallShop:
    """Return a shop with a catalog and no day yet."""
    shop = SmallShop(folder, instance)
    shop.configure()
    rows = [{"item_id": f"i{n}", "tags": ["red" if n % 2 else "blue", f"aisle{n % 3}"]} for n in range(6)]
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return shop


def build_two_days(folder: Path) -> Path:
    """Build the shop's first two days in `folder`, without Dagster; return a copy for `set_back`."""
    shop = open_shop(folder)
    for n in range(2):
        shop.write(after(n), day_lines(after(n), shift=n))
        assert shop.run(after(n)).success
    return Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-as-built")))


@contextmanager
def set_back(folder: Path, as_built: Path, *, recorded: bool = True) -> Generator[SmallShop]:
    """Yield the shop as it was built, where it was built, as pointers name places; Dagster's history is empty.

    It has none unless it is `recorded`: to make one takes as long as many a test.
    """
    shutil.rmtree(folder)
    shutil.copytree(as_built, folder)
    with dg.DagsterInstance.ephemeral() if recorded else nullcontext() as instance:
        yield SmallShop(folder, instance)


def day_lines(day: date, *, targets: Iterable[Target] = (HOME, CART), shift: int = 0) -> list[str]:
    """Return the events of an ordinary day: six sessions of three items for each target, every second one anonymous."""
    lines: list[str] = []
    for target in targets:
        for session in range(6):
            for place in range(3):
                event = {
                    "v": 1,
                    "ts": f"{day}T{8 + session:02d}:00:0{place}Z",
                    "tenant": target.tenant,
                    "surface": target.surface,
                    "session_id": f"s{session}",
                    "item_id": f"i{(session % 2 + place + shift) % 6}",
                    "rank": place,
                }
                user = {"user_id": f"u{session}"} if session % 2 else {}
                lines.append(json.dumps(event | user))
    return lines


def after(days: int) -> date:
    """Return the day that many days after the first."""
    return FIRST + timedelta(days=days)
