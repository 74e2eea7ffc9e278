"""The command `new`: the project that it writes builds, ships, and passes its own test."""

import sys

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests import warm_processes


def new(folder):
    return CliRunner().invoke(recsys_assets, ["new", str(folder)], standalone_mode=False, catch_exceptions=False)


@pytest.mark.slow
def test_a_new_project_ships_its_days_and_passes_its_own_test(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = tmp_path / "my-shop"
    assert "README.md" in new(folder).output
    settings = load_settings(folder / "recsys.toml")
    days = sorted(path.stem for path in (folder / "data" / "raw").iterdir())
    assert (str(settings.partitions.start), len(days)) == (days[0], 3)
    call = ["run", "--config", str(folder / "recsys.toml"), "--start", days[-1]]
    done = CliRunner().invoke(recsys_assets, call, standalone_mode=False)
    assert "my_shop/home/manifest" in done.output, done.output
    assert (folder / "data/store/registry/current/my_shop/home/manifest.json").exists()
    tested = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = warm_processes.run(tested, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_folder_that_is_not_empty_or_names_no_project_is_refused(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "recsys.toml").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        new(tmp_path / "old")
    with pytest.raises(ConfigurationError, match="starts with a letter"):
        new(tmp_path / "3")
    assert not (tmp_path / "3").exists()
