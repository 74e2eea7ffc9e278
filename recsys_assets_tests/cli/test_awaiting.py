"""`rollback --wait`: 0 when every live consumer serves it, 1 with the stragglers when one does not."""

import json
from datetime import timedelta

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.identity import Target
from recsys_assets.release.pointer import read_current
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.storage.filesystem import FilesystemStore

TARGET = Target("shop", "home")


@pytest.fixture
def place(tmp_path):
    """A configuration, and its store with two releases."""
    config = tmp_path / "recsys.toml"
    config.write_text(
        f'[storage]\nroot = "{tmp_path / "store"}"\n\n[[targets]]\ntenant = "shop"\nsurface = "home"\n',
        encoding="utf-8",
    )
    store = FilesystemStore(tmp_path / "store")
    for n in range(2):
        publish_fixture(store, "shop", "home", {"popularity": {f"i{n}": 1}}, day=DAY + timedelta(days=n))
    return config, store


def roll_back(config, capsys, *more):
    target = ("--config", str(config), "--tenant", "shop", "--surface", "home")
    code = recsys_assets.main(
        ["rollback", *target, "--to", "previous", "--reason", "wrong", *more], standalone_mode=False
    )
    return code, capsys.readouterr().out


def serving(store):
    """A consumer that has reported what it serves now, and goes on serving that."""
    reader = Reader(store, "shop", "home", heartbeat="web-1")
    reader.refresh()
    assert reader.beat()
    return reader


def test_stragglers_are_named_with_exit_1_and_the_rollback_stands(place, capsys):
    config, store = place
    left = read_current(store, TARGET).release_id
    serving(store)
    code, out = roll_back(config, capsys, "--wait", "0")
    assert code == 1
    assert f"0 of 1 live consumers serve it; behind: web-1 (serves {left[:12]}, fresh" in out
    assert read_current(store, TARGET).release_id != left


def test_the_stragglers_are_in_the_one_json_document(place, capsys):
    config, store = place
    serving(store)
    code, out = roll_back(config, capsys, "--json", "--wait", "0")
    assert code == 1
    document = json.loads(out)
    assert document["rolled_back"]["live"] == document["consumers"]["release"]
    assert [beat["consumer"] for beat in document["consumers"]["behind"]] == ["web-1"]


def test_it_returns_as_soon_as_everybody_serves_it(place, capsys):
    config, store = place
    with Reader(store, "shop", "home", heartbeat="web-1", poll_seconds=0.05) as reader:
        reader.beat()
        code, out = roll_back(config, capsys, "--wait")
    assert (code, "1 of 1 live consumers serve it" in out) == (0, True)


@pytest.mark.parametrize("more", [(), ("--wait", "0"), ("--wait", "--dry-run")])
def test_nobody_is_waited_for_where_nobody_is_or_nothing_is_done(place, capsys, more):
    assert roll_back(place[0], capsys, *more)[0] == 0


def test_a_dry_run_waits_for_nobody_though_somebody_serves_something_else(place, capsys):
    config, store = place
    live = read_current(store, TARGET)
    serving(store)
    code, out = roll_back(config, capsys, "--wait", "0", "--dry-run")
    assert (code, "behind" in out) == (0, False)
    assert read_current(store, TARGET) == live
