"""Dagster's own commands build a day as the project's command does."""

import os
import sys
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets_tests import warm_processes
from recsys_assets_tests.dagster_defs.dagster_dev import ROOT, open_home
from recsys_assets_tests.small_shop import CART, FIRST, HOME, day_lines, open_shop

GROUP = "key:raw or key:shop/home/*"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("dg", "launch", "--assets", GROUP), id="dg launch"),
        pytest.param(
            ("dagster", "asset", "materialize", "-m", "recsys_assets.definitions", "--select", GROUP),
            id="dagster asset materialize",
        ),
    ],
)
def test_a_day_of_one_target_is_built_by_dagsters_own_command(tmp_path, command):
    home = open_home(tmp_path / "home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure('[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n')
        shop.write(FIRST, day_lines(FIRST))
        names = {"DAGSTER_HOME": str(home), "RECSYS_CONFIG": str(tmp_path / "recsys.toml"), "PYTHONWARNINGS": "ignore"}
        program = Path(sys.executable).with_name(command[0])
        done = warm_processes.run(
            [sys.executable, program, *command[1:], "--partition", str(FIRST)],
            cwd=ROOT,
            env=os.environ | names,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert shop.live(HOME) is not None
        assert shop.live(CART) is None
        (event,) = instance.fetch_materializations(dg.AssetKey(["shop", "home", "manifest"]), limit=9).records
        assert event.partition_key == str(FIRST)
