"""Blocked items: no answer names one from the next look on, whatever the release holds and whatever breaks."""

from datetime import timedelta

import pytest

from recsys_assets.release.blocking import block_item, unblock_item
from recsys_assets.release.journal import Actor
from recsys_assets.serving.blocking import without_blocked
from recsys_assets.serving.state import RefreshOutcome
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.heartbeats import blocking_message, read_heartbeats
from recsys_assets_tests.serving.releases import BLOCKED, POINTER, TARGET

ANN = Actor("ann", "a recall")
ROWS = {
    "popularity": {"a": 9, "bad": 8, "b": 7, "c": 6},
    "cooc": {"a": {"bad": 5, "b": 4}, "b": {"c": 2}, "bad": {"a": 5}, "c": {"bad": 1}},
    "implicit": {"u": {"bad": 3, "a": 2}, "v": {"b": 1}},
    "content_sim": {"a": ["red"], "bad": ["red"]},
}


@pytest.fixture(params=[None, 2], ids=["one object", "shards"])
def shards(request):
    return request.param and dict.fromkeys(("cooc", "implicit", "content_sim"), request.param)


def ship(store, clock, **options):
    publish_fixture(store, TARGET.tenant, TARGET.surface, ROWS, now=clock, **options)


def block(store, clock, item="bad", **options):
    return block_item(store, TARGET, item, by=ANN, now=clock, **options)


def ids(items):
    return None if items is None else [one.item_id for one in items]


def test_a_blocked_item_is_in_no_answer_from_the_next_look_on(store, clock, open_reader, shards):
    ship(store, clock, shards=shards)
    reader = open_reader()
    reader.refresh()
    release, pointer = reader.snapshot(), store.objects[POINTER]
    assert ids(release.top_items(2)) == ["a", "bad"]
    block(store, clock)
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED
    now = reader.snapshot()
    assert now.blocked == {"bad"}
    assert ids(now.top_items(2)) == ["a", "b"], "the next ones move up"
    assert ids(now.top_items()) == ["a", "b", "c"]
    assert ids(now.neighbors("a")) == ["b"]
    assert ids(now.neighbors("b")) == ["c"]
    assert now.neighbors("bad") is None
    assert ids(now.neighbors("c")) == []
    assert ids(now.for_user("u")) == ["a"]
    assert now.tags("bad") is None
    assert now.tags("a") == ("red",)
    assert ids(now.find("implicit", "u").items) == ["a"]
    assert {row.item_id: ids(row.items) for row in now.rows("cooc")} == {"a": ["b"], "b": ["c"], "c": []}
    assert len(now.rows("popularity")) == 3
    assert now.release_id == release.release_id
    assert store.objects[POINTER] == pointer, "nothing was shipped"
    assert ids(release.top_items(2)) == ["a", "bad"], "a request holds one release from its start to its end"


def test_positions_of_rows_pass_over_those_of_blocked_items(store, clock, open_reader):
    ship(store, clock)
    reader = open_reader()
    reader.refresh()
    rows = without_blocked(reader.snapshot().rows("popularity"), frozenset({"a", "bad", "c"}))
    assert [rows.row(n).item_id for n in range(len(rows))] == ["b"]
    assert without_blocked(rows, frozenset()) is reader.snapshot().rows("popularity"), "nothing is in the way any more"


def test_what_is_left_out_is_counted_as_what_the_user_sees(store, clock, open_reader):
    ship(store, clock)
    reader = open_reader()
    reader.refresh()
    reader.snapshot().neighbors("c")
    block(store, clock)
    reader.refresh()
    reader.snapshot().neighbors("c")
    reader.snapshot().neighbors("bad")
    (counter,) = reader.counters
    counted = counter.counts()["cooc"]
    assert (counted.asked, counted.empty, counted.unknown) == (3, 1, 1), "one release, one counter"


def test_a_release_that_ships_later_serves_without_it_from_the_start(store, shop, clock, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    block(store, clock, "item 1")
    shop.ship(1)
    reader.refresh()
    assert ids(reader.snapshot().top_items()) == ["other"]


def test_a_block_ends_by_itself_and_by_hand(store, clock, open_reader):
    ship(store, clock)
    reader = open_reader()
    block(store, clock, until=clock.at + timedelta(hours=1))
    reader.refresh()
    assert reader.snapshot().blocked == {"bad"}
    clock.move(hours=2)
    reader.refresh()
    assert reader.snapshot().blocked == frozenset()
    assert ids(reader.snapshot().neighbors("a")) == ["bad", "b"]
    block(store, clock)
    reader.refresh()
    unblock_item(store, TARGET, "bad", by=ANN, now=clock)
    reader.refresh()
    assert ids(reader.snapshot().neighbors("a")) == ["bad", "b"]


def test_a_list_that_cannot_be_read_leaves_the_one_before_in_force(store, clock, open_reader):  # F75
    ship(store, clock)
    block(store, clock)
    reader = open_reader()
    reader.refresh()
    store.inject(Fault("get", FaultMode.FAIL, times=1))
    reader.refresh()
    assert reader.blocked_fault
    assert reader.snapshot().blocked == {"bad"}
    store.put(BLOCKED, b'{"v":9}')
    reader.refresh()
    assert "format 9" in reader.blocked_fault
    assert reader.snapshot().blocked == {"bad"}
    store.delete(BLOCKED)
    reader.refresh()
    assert (reader.blocked_fault, reader.snapshot().blocked) == ("", frozenset())


def test_a_start_without_a_store_leaves_them_out_too(store, clock, open_reader, tmp_path):
    ship(store, clock)
    block(store, clock)
    open_reader(copy_folder=tmp_path).refresh()
    down = MemoryStore()
    down.inject(*(Fault(verb, FaultMode.FAIL, times=10**9) for verb in ("get", "stat", "list")))
    reader = open_reader(store=down, copy_folder=tmp_path)
    reader.refresh()
    assert reader.status().source == "disk"
    assert ids(reader.snapshot().for_user("u")) == ["a"]


def test_heartbeats_say_who_honours_the_list(store, clock, open_reader):
    ship(store, clock)
    reader = open_reader(heartbeat="web-1")
    reader.refresh()
    reader.beat()
    assert "0 of 1" in said(store, clock, block(store, clock))
    reader.refresh()
    reader.beat()
    assert "1 of 1" in said(store, clock, block(store, clock, "bad"))


def said(store, clock, done):
    assert done.entry is not None
    return blocking_message(read_heartbeats(store, TARGET).beats, done.updated_at, now=clock())
