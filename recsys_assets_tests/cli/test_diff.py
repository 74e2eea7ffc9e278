"""The command `diff`: it names the items that differ, by place in rankings alone."""

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.serving.releases import Shop


@pytest.fixture
def place(tmp_path, monkeypatch):
    settings_in(tmp_path, targets=[("shop", "home")])
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    shop = Shop(FilesystemStore(tmp_path / "store"))
    first = shop.ship(0, popularity={"ash": 9, "birch": 5}, cooc={"x": {"a": 3}, "yew": {"b": 3}})
    shop.ship(1, popularity={"ash": 5, "birch": 9, "fir": 1}, cooc={"x": {"b": 3}, "oak": {"b": 3}})
    return first


def test_diff_names_items_that_enter_leave_and_move(place, capsys):
    assert recsys_assets.main(("diff", place.id, "live"), standalone_mode=False) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "entered fir moved birch 2->1, ash 1->2" in printed
    assert "entered oak left yew changed x" in printed
