"""A target that was taken out of the configuration is shown as that, and everything but building works on it."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, ConflictError, RefusedError
from recsys_assets.identity import Target
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import read_current
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets_tests.release.staging import Shop
from recsys_assets_tests.small_shop import CONFIG, HOME

CART = Target("shop", "cart")
NAMED = ("--tenant", "shop", "--surface", "cart")
WHY = ("--reason", "the cart is gone")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A store that serves two targets, and a configuration that has one of them."""
    (tmp_path / "catalog.jsonl").touch()
    retention = "[retention]\ngrace_hours = 0\n"
    (tmp_path / "recsys.toml").write_text(f'{CONFIG}{retention}[[targets]]\ntenant = "shop"\nsurface = "home"\n')
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    store = FilesystemStore(tmp_path / "store")
    for target in (HOME, CART):
        for n in range(2):
            Shop(store, target).ship(n)
    return store


def call(*words, **options):
    return recsys_assets.main(words, standalone_mode=False, **options)


def test_status_shows_it_as_not_configured_beside_the_others(place, capsys):
    assert call("status") == 0
    assert "not configured" in capsys.readouterr().out
    assert call("status", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["surface"], row["configured"], row["freshness"] is None) for row in rows] == [
        ("home", True, False),
        ("cart", False, True),
    ]
    assert rows[1]["release"] == read_current(place, CART).release_id


def test_status_of_a_named_target_shows_no_other(place, capsys):
    for surface in ("home", "cart"):
        assert read_current(place, Target("shop", surface)) is not None
        assert call("status", "--json", "--tenant", "shop", "--surface", surface) == 0
        assert [row["surface"] for row in json.loads(capsys.readouterr().out)] == [surface]


def test_status_of_the_configured_ones_stands_when_pointers_cannot_be_listed(place, capsys):
    store = MemoryStore()
    Shop(store, HOME).ship(0)
    store.inject(Fault("list", FaultMode.DENY, prefix="registry/"))
    assert place is not store
    assert call("status", "--json", obj=lambda _: store) == 0
    message = capsys.readouterr()
    assert [row["surface"] for row in json.loads(message.out)] == ["home"]
    assert "cannot be listed" in message.err


def test_it_can_be_looked_at_rolled_back_and_held(place, capsys):
    before = read_current(place, CART).release_id
    for words in (("log", *NAMED), ("verify", *NAMED), ("diff", "live", "live", *NAMED)):
        assert call(*words) == 0
    assert call("rollback", *NAMED, *WHY, "--to", "previous") == 0
    assert read_current(place, CART).release_id != before
    assert call("release-hold", *NAMED, *WHY) == 0
    capsys.readouterr()
    assert call("log", *NAMED, "--json") == 0
    (message,) = json.loads(capsys.readouterr().out)
    assert [entry["action"] for entry in message["entries"]][:2] == ["release_hold", "roll_back"]


def test_it_is_retired_put_back_retired_and_collected(place, capsys):
    assert call("retire", *NAMED, *WHY) == 0
    assert call("restore-pointer", *NAMED, *WHY) == 0
    assert read_current(place, CART) is not None
    assert call("retire", *NAMED, *WHY) == 0
    folder = Path(place.root_uri.removeprefix("file://"), "artifacts", "shop", "cart")
    for path in folder.rglob("*.json"):
        os.utime(path, (0, 0))
    capsys.readouterr()
    assert call("collect", *NAMED, "--apply", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["surface"], len(found["collection"]["taken"])) == ("cart", 4)
    assert call("status", "--json") == 0
    assert [row["surface"] for row in json.loads(capsys.readouterr().out)] == ["home"]
    with pytest.raises(RefusedError, match="cannot be served"):
        call("restore-pointer", *NAMED, *WHY)


def test_what_was_collected_of_it_is_taken_back_out_of_the_trash_and_served_again(place, capsys):
    assert call("retire", *NAMED, *WHY) == 0
    by = Actor("cron", "daily")
    collect(place, CART, by=by, now=lambda: datetime.now(UTC) + timedelta(days=2), apply=True)
    capsys.readouterr()
    for words in (("--dry-run",), ()):
        assert list(place.list("artifacts/shop/cart/")) == []
        assert call("collect", *NAMED, "--restore", "", *words, "--json") == 0
        assert len(json.loads(capsys.readouterr().out)) == 4
    with pytest.raises(ConflictError, match="run again 15 minutes after it"):
        call("restore-pointer", *NAMED, *WHY)
    for path in Path(place.root_uri.removeprefix("file://"), "trash").rglob("sweep.json"):
        os.utime(path, (0, 0))  # the collection was long ago: no delete of it is under way
    assert call("restore-pointer", *NAMED, *WHY) == 0
    assert call("verify", *NAMED) == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [(("--restore", ""), 0), (("--restore", "artifacts/shop/home/cooc/x.json"), 1)],
    ids=["nothing in the trash is a no-op", "one that is not there is a refusal"],
)
def test_taking_back_what_the_trash_does_not_hold(place, words, code):
    assert place is not None
    assert call("collect", "--tenant", "shop", "--surface", "home", *words) == code


@pytest.mark.parametrize(
    ("tenant", "surface"),
    [("shop", "hmoe"), ("../shop", "cart"), ("shop", "")],
    ids=["misspelt", "F17 hostile", "empty"],
)
def test_what_neither_configuration_nor_store_knows_is_an_error(place, tenant, surface):
    assert place is not None
    with pytest.raises(ConfigurationError, match="no target"):
        call("log", "--tenant", tenant, "--surface", surface)


def test_it_is_never_built_or_shipped(place):
    live = read_current(place, CART)
    for words in (("run", *NAMED, "--start", "2026-01-02"), ("ship", *NAMED, *WHY, "--day", "2026-03-02")):
        with pytest.raises(ConfigurationError, match="no target shop/cart in the configuration"):
            call(*words)
    assert read_current(place, CART) == live
