"""The command backtest as people and programs meet it: a table, a document, a picture, and exit codes."""

import json
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.warm_up import build_days
from recsys_assets_tests.pipeline.test_run_backtest import CONFIG, FIRST, SECOND, THIRD, Shop
from recsys_assets_tests.ring_world import RingDay, write_ring_day

OFF = CONFIG.replace('mode = "required"', 'mode = "off"').replace(
    "[[targets]]", '[storage]\nroot = "store"\n[[targets]]'
)


@pytest.fixture
def folder(tmp_path):
    """Three days on a disk, of which the middle one follows another law."""
    (tmp_path / "recsys.toml").write_text(OFF)
    shop = Shop(tmp_path, OFF)
    shop.store = open_configured_store(shop.settings)
    for day in (FIRST, SECOND, THIRD):
        write_ring_day(tmp_path, day, day.toordinal(), RingDay(shuffled=day == SECOND))
        build_days(shop.settings, [day], store=shop.store)
    shop.ship(FIRST)
    return tmp_path


def call(folder, *arguments):
    place = ["--config", str(folder / "recsys.toml"), "--tenant", "shop", "--surface", "home"]
    return CliRunner().invoke(recsys_assets, ["backtest", *place, *arguments], standalone_mode=False)


@pytest.mark.slow
def test_a_day_that_is_worse_ends_with_1_and_is_reported_and_drawn(folder):
    message = call(
        folder, "--start", str(FIRST), "--end", str(THIRD + timedelta(days=1)), "--plot", str(folder / "b.svg")
    )
    assert message.return_value == 1, message.output
    assert "worse" in message.output
    assert f"{THIRD + timedelta(days=1)}: not compared" in message.output
    drawn = ET.parse(folder / "b.svg").getroot()  # noqa: S314 - our own picture
    assert len(drawn.findall("{*}circle")) == 10  # two days, five recommenders: the first day is live itself


@pytest.mark.slow
def test_the_document_holds_every_number(folder):
    found = call(folder, "--start", str(SECOND), "--json")
    (day,) = json.loads(found.output)
    assert day["held_out"] == f"canonical/shop/home/{THIRD}.parquet"
    verdicts = {one["name"]: (one["verdict"], one["standing"]) for one in day["compared"]}
    assert verdicts["cooc"] == ("worse", "worse")  # `standing` is the former name, which scripts may read
    assert all(one["low"] <= one["difference"] <= one["high"] for one in day["compared"])


def test_a_picture_of_another_form_is_refused(tmp_path):
    found = call(tmp_path, "--start", str(FIRST), "--plot", "b.png")
    assert "ends in .svg" in str(found.exception)
