"""The scene of the walk: a shop whose days end yesterday, Dagster and the console on it, and a browser in front."""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
from playwright.sync_api import Browser, Page

from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.api.serving_api import served
from recsys_assets_tests.browsing import chromium
from recsys_assets_tests.dagster_defs.dagster_dev import ROOT, DagsterDev, dagster_dev, open_home
from recsys_assets_tests.small_shop import HOME, SmallShop, day_lines, open_shop


def ago(days: int) -> date:
    """Return the day that many days before today."""
    return datetime.now(UTC).date() - timedelta(days=days)


FIRST_DAY, GAP, BAD, LAST_DAY, NEWEST = ago(6), ago(5), ago(4), ago(2), ago(1)
SECRET = "of the walk"
SETTINGS = f"""
[freshness]
max_age_hours = 20
[[api.tokens]]
name = "ann"
sha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}"
scopes = ["read", "operate"]
[hierarchies.lab]
levels = ["experiment", "model"]
[artifacts]
kinds = ["popularity", "cooc"]
"""
TARGETS = "".join(f'\n[[targets]]\ntenant = "shop"\nsurface = "{name}"\n' for name in ("home", "cart", "empty"))


@dataclass(frozen=True, slots=True)
class Walk:
    """What the steps look at."""

    home: Path
    shop: SmallShop
    dev: DagsterDev
    browser: Browser
    dagster: Page
    console: Page
    pictures: Path

    @property
    def store(self) -> FilesystemStore:
        """The shop's store."""
        return self.shop.store

    def picture(self, name: str) -> None:
        """Keep what Dagster shows now."""
        self.dagster.wait_for_timeout(1500)
        self.dagster.screenshot(path=self.pictures / f"{name}.png")

    def limit(self, seconds: float) -> float:
        """Return a limit of the clock on this machine now: longer where more waits for a core than there are cores."""
        return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))

    def say(self, text: str) -> None:
        """Print what was measured, and how much waited for a core then."""
        print(f"    {text} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", flush=True)  # noqa: T201 - a script


@contextmanager
def open_walk(folder: Path, pictures: Path) -> Generator[Walk]:
    """Set the scene in an empty folder, and end all of it."""
    home = open_home(folder / "home")
    (home / ".nux").mkdir()
    (home / ".nux" / "nux.yaml").write_text("seen: 1\n")  # no dialog before the first page
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.all_instigator_state()
        shop = open_shop(folder, instance)
        _write_days(shop)
        config = folder / "recsys.toml"
        with (
            dagster_dev(home, config, ROOT / "workspace.yaml") as dev,
            served(config) as (url, _),
            chromium() as browser,
        ):
            credentials = {"username": "ann", "password": SECRET}
            dagster = browser.new_page(base_url=dev.url, viewport={"width": 1440, "height": 900})
            console = browser.new_page(base_url=url, http_credentials=credentials)
            dagster.set_default_timeout(90_000)
            yield Walk(home, shop, dev, browser, dagster, console, pictures)


def _write_days(shop: SmallShop) -> None:
    shop.configure(SETTINGS, targets=TARGETS)
    config = shop.folder / "recsys.toml"
    config.write_text(config.read_text().replace("start = 2026-01-01", f"start = {ago(410)}"))
    for day in (FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)):
        lines = day_lines(day)
        if day == BAD:
            lines += [line.replace('"v": 1', '"v": 9') for line in day_lines(day, targets=[HOME])]
        if day != GAP:
            shop.write(day, lines)
