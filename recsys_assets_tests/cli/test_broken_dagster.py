"""A lost or damaged home of Dagster stops what reports to Dagster, in a sentence, and nothing that undoes."""

import json
import os
import subprocess
import sys

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError
from recsys_assets.release.pointer import read_current
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.release.staging import TARGET, Shop
from recsys_assets_tests.small_shop import CONFIG

NAMED = ("--tenant", "shop", "--surface", "home", "--reason", "ranking looks wrong")
UNDOING = [
    ("status",),
    ("rollback", *NAMED, "--to", "previous"),
    ("release-hold", *NAMED),
    ("hold", *NAMED),
    ("log", "--json"),
    ("verify",),
    ("collect", "--apply"),
]
ONE_AFTER_THE_OTHER = """
import json, sys
from recsys_assets.cli.main import recsys_assets
for line in json.load(sys.stdin):
    assert recsys_assets.main(line, standalone_mode=False) == 0, line
assert "dagster" not in sys.modules
"""


def damaged_databases(home):
    for name in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db", "index.db"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"no database" * 100)


HOMES = [
    pytest.param(lambda _: None, id="F33 gone"),
    pytest.param(lambda home: home.write_text(""), id="F33 a file"),
    pytest.param(damaged_databases, id="F33 damaged databases"),
    pytest.param(lambda home: (home.mkdir(), (home / "dagster.yaml").write_text("a: [")), id="damaged dagster.yaml"),
    pytest.param(lambda home: (home.mkdir(), (home / "dagster.yaml").write_text("storag: 1")), id="unknown key"),
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return tmp_path / "dagster"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A configured target with three releases."""
    (tmp_path / "catalog.jsonl").touch()
    (tmp_path / "recsys.toml").write_text(f'{CONFIG}[[targets]]\ntenant = "shop"\nsurface = "home"\n')
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    shop = Shop(FilesystemStore(tmp_path / "store"))
    for n in range(3):
        shop.ship(n)
    return shop


@pytest.mark.slow
@pytest.mark.parametrize("damage", HOMES)
def test_what_looks_and_undoes_works_with_a_broken_home(shop, home, damage):
    damage(home)
    left = read_current(shop.store, TARGET).release_id
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER],
        input=json.dumps(UNDOING),
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_current(shop.store, TARGET).release_id != left


@pytest.mark.parametrize("damage", HOMES)
@pytest.mark.parametrize(
    "command", [("reindex",), ("prune-runs",), ("run", "--start", "2026-01-02")], ids=lambda command: command[0]
)
def test_what_reports_to_dagster_names_the_broken_home(shop, home, damage, command):
    damage(home)
    live = read_current(shop.store, TARGET)
    with pytest.raises(ConfigurationError, match=r"dagster: Dagster's instance cannot be opened \("):
        recsys_assets.main(command, standalone_mode=False)
    assert read_current(shop.store, TARGET) == live
