"""The drill of a bad release: walked to its end, on a scratch store alone, and failing when a step fails."""

import logging

import click
import pytest

from recsys_assets.cli.drill import BAD_ITEM, _Drill, open_scratch_shop
from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError
from recsys_assets_tests.small_shop import FIRST


@pytest.fixture(autouse=True)
def level():
    before = logging.getLogger("dagster").level
    yield
    logging.getLogger("dagster").setLevel(before)


def drill(*arguments):
    return recsys_assets.main(["drill", "bad-release", *arguments], standalone_mode=False)


@pytest.mark.slow
def test_a_drill_ships_a_bad_release_rolls_it_back_and_ships_the_next_good_day(tmp_path, capsys, monkeypatch):
    home = tmp_path / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert drill("--folder", str(tmp_path / "shop")) == 0
    recommended = [line for line in capsys.readouterr().out.splitlines() if line.startswith("a service recommends")]
    assert [BAD_ITEM in line for line in recommended] == [False, True, True, False, False, False]
    assert list(home.iterdir()) == [], "a drill leaves no run in anybody's history"


@pytest.mark.slow
def test_a_drill_of_bad_answers_undoes_them_by_what_a_service_counted(tmp_path, capsys):
    assert recsys_assets.main(["drill", "bad-answers", "--folder", str(tmp_path / "shop")], standalone_mode=False) == 0
    found = [line.split()[5] for line in capsys.readouterr().out.splitlines() if line.startswith("a service found")]
    assert found == ["2000", "0", "2000"]


def test_a_drill_never_works_in_a_folder_that_holds_something(tmp_path):
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ConfigurationError, match="is not empty"):
        drill("--folder", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_step_that_ends_otherwise_than_it_should_fails_the_drill(tmp_path):
    drilled = _Drill(open_scratch_shop(tmp_path / "shop", first_day=FIRST), pause=False)
    with pytest.raises(click.ClickException, match="`log` exited with code 0, expected 1"):
        drilled.command("log", code=1)
