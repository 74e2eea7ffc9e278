"""The demo end to end, in processes of its own as `make demo` starts them: generate, run, show, run again."""

import hashlib
import json
import os
import re
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets_tests import warm_processes

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "demo"
TODAY = "2025-12-05"


def run(*arguments, home=None, expected=0):
    """Run a program of the demo; Dagster records what it builds where it is given a home, which takes far longer."""
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= {"DAGSTER_HOME": str(home)} if home else {}
    done = warm_processes.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def run_days(folder, start, end, *target, home=None):
    command = "from recsys_assets.cli.main import main; main()"
    days = ("--start", start, "--end", end)
    return run("-c", command, "run", "--config", folder / "recsys.toml", *target, *days, home=home)


def files(folder):
    """Return the SHA-256 of each file below a folder by its path."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    run(DEMO / "generate.py", folder, TODAY)
    return folder


@pytest.fixture(scope="module")
def shipped(week):
    return run_days(week, "2025-11-25", "2025-11-28")


def live(week):
    """Return the SHA-256 of every blob and pointer by its path."""
    return {
        name: digest
        for name, digest in files(week / "store").items()
        if name.startswith(("artifacts/", "registry/current/"))
    }


def test_the_generated_week_is_the_same_every_time(week, tmp_path):
    run(DEMO / "generate.py", tmp_path, TODAY)
    again = files(tmp_path)
    assert len(again) == 6 * 3 + 2
    assert again == {name: files(week)[name] for name in again}


def test_the_scene_after_the_week_ends_yesterday_whenever_it_is_played(tmp_path):
    assert run(DEMO / "generate.py", tmp_path, "2030-03-15").split() == ["2030-03-04", "2030-03-10"]
    assert "start = 2030-03-04" in (tmp_path / "recsys.toml").read_text()
    printed = run(DEMO / "generate.py", tmp_path).split()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert abs((yesterday - date.fromisoformat(printed[1])).days - 4) <= 1, "the clock may pass midnight"


def test_showing_before_a_run_says_what_to_do(tmp_path):
    run(DEMO / "show.py", tmp_path, expected=1)


@pytest.mark.slow
def test_the_days_ship_over_a_gap_and_a_quiet_day(week, shipped):
    assert "4 days done" in shipped
    assert re.search(r"2025-11-25 garden/offers/canonical +skipped", shipped)
    assert re.search(r"2025-11-27 raw +skipped", shipped)
    pointers = sorted((week / "store" / "registry" / "current").rglob("manifest.json"))
    targets = [path.parent.relative_to(path.parents[2]).as_posix() for path in pointers]
    assert targets == ["books/home", "books/search", "garden/offers", "garden/start"]
    uris = [uri for path in pointers for uri in json.loads(path.read_bytes())["current"].values()]
    ends = {json.loads(Path(uri.removeprefix("file://")).read_bytes())["window"]["end"] for uri in uris}
    assert ends == {"2025-11-29T00:00:00Z"}


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_what_is_live_and_what_was_put_aside_is_shown(week):
    shown = run(DEMO / "show.py", week)
    for expected in ("5 artifacts", "books/home: most seen", "garden/start: most seen", "no_zone", "out_of_window"):
        assert expected in shown


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_running_a_day_again_by_dagster_leaves_every_pointer_and_blob_as_it_is(week):
    before = live(week)
    home = week / "dagster"
    run(DEMO / "open_home.py", home=home)
    run_days(week, "2025-11-28", "2025-11-28", "--tenant", "books", "--surface", "home", home=home)
    assert live(week) == before


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_the_scene_of_a_bad_day_ends_well(week):
    # The gates of a day judge by five ordinary days at least: those that were shipped are too few.
    run_days(week, "2025-11-29", "2025-11-30", "--tenant", "books", "--surface", "home")
    played = run(DEMO / "scene.py", week)
    assert played.count("exit 1") == 4
    assert re.search(r"cooc: 100.00% of \d+ answers unknown, live 0.00% of", played)
    assert "It ended by itself, and is marked bad; live never moved." in played
    refused = re.findall(r"^(\S+) books/home/\S+(?: gates)? +failed +(?:gate )?(\w+)", played, re.MULTILINE)
    assert refused == [
        ("2025-12-01", "bad_share"),
        ("2025-12-01", "RefusedError"),
        ("2025-12-03", "day_item_mix"),
        ("2025-12-04", "not_empty"),
    ]
    assert "ids shuffled?" in played
    events = dict(re.findall(r"^(2025-12-0[24]) books/home/popularity .*events=(\d+)", played, re.MULTILINE))
    later = re.findall(r"^2025-12-04 books/home/canonical .*rows=(\d+)", played, re.MULTILINE)
    assert int(events["2025-12-04"]) == int(events["2025-12-02"]) + int(later[0]), "the refused day is left out"
    assert "undefined" in played
    pointer = json.loads((week / "store/registry/current/books/home/manifest.json").read_bytes())
    popularity = Path(pointer["current"]["popularity"].removeprefix("file://")).read_text()
    assert "undefined" not in popularity
    assert json.loads(popularity)["window"]["end"] == "2025-12-05T00:00:00Z"
