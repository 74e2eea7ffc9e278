"""Forgetting old runs: only what has ended and is old, only when asked, and never anything of the store."""

import dagster as dg
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError
from recsys_assets_tests.small_shop import after, day_lines, open_shop

ONE_TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'


def prune(*arguments):
    return recsys_assets.main(["prune-runs", *arguments], standalone_mode=False)


@pytest.mark.slow
def test_old_runs_are_removed_only_when_asked_and_what_is_live_stays(tmp_path, monkeypatch, capsys):
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure("[artifacts]\nkinds = ['popularity', 'implicit']\n", targets=ONE_TARGET)
        for n in range(2):
            shop.write(after(n), [line.replace('"user_id": "u', '"user_id": "quagga-') for line in day_lines(after(n))])
            shop.build(after(n))
        assert b"quagga-" in (shop.folder / "raw" / f"{after(0)}.jsonl").read_bytes()
        live = shop.live()
        capsys.readouterr()

        for arguments, message, left in (
            ([], "would remove 0", 2),
            (["--older-than-days", "0"], "would remove 2", 2),
            (["--older-than-days", "0", "--apply"], "removed 2", 0),
        ):
            assert prune(*arguments) == 0
            assert message in capsys.readouterr().out
            assert instance.get_runs_count() == left
        assert shop.live() == live
    kept = [path.name for path in home.rglob("*") if path.is_file() and b"quagga-" in path.read_bytes()]
    assert kept == [], "Dagster keeps the last materialization of each asset, whose rows show no user"


def test_without_a_home_there_is_nothing_to_prune(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.raises(ConfigurationError, match="DAGSTER_HOME is not set"):
        prune()
