"""Heartbeats: one object a consumer, whoever writes it; who is live, who is behind, and what is collected."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from recsys_assets.errors import ConflictError
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import heartbeat_key, heartbeat_prefix, pointer_key
from recsys_assets.serving.reader import Reader
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.heartbeats import (
    KEPT,
    MAX_SECONDS,
    Heartbeat,
    convergence,
    is_live,
    read_heartbeats,
    wait_until_converged,
    write_heartbeat,
)
from recsys_assets.upkeep.status import status
from recsys_assets_tests.release.staging import TARGET, Shop

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NEW, OLD = "a" * 64, "b" * 64


@pytest.fixture
def store():
    return MemoryStore()


def beat_of(consumer, release=NEW, *, ago=0, **more):
    at = (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {"state": "fresh", "every_seconds": 60.0, "nonce": f"{consumer}{ago}"} | more
    return Heartbeat(consumer=consumer, release=release, seen_at=at, **fields)


def beat(store, *arguments, expected=None, **more):
    return write_heartbeat(store, TARGET, beat_of(*arguments, **more), expected=expected)


def names(beats):
    return [one.consumer for one in beats]


def test_a_consumer_has_one_object_that_it_swaps(store):
    etag = beat(store, "web-1", OLD, ago=60)
    beat(store, "web-1", NEW, expected=etag)
    (only,) = read_heartbeats(store, TARGET).beats
    assert only == beat_of("web-1", NEW)


@pytest.mark.parametrize("expected", [None, "an etag of long ago"])
def test_a_beat_wins_over_what_another_process_of_that_name_wrote(store, expected):
    beat(store, "web-1", OLD, ago=60)
    beat(store, "web-1", NEW, expected=expected)
    assert read_heartbeats(store, TARGET).beats == (beat_of("web-1", NEW),)


def test_a_beat_is_created_again_when_collection_took_the_last(store):
    etag = beat(store, "web-1")
    store.delete(heartbeat_key(TARGET, "web-1"))
    beat(store, "web-1", ago=1, expected=etag)
    assert names(read_heartbeats(store, TARGET).beats) == ["web-1"]


def test_two_that_write_without_end_under_one_name_are_reported(store):
    def always_first(verb, key):
        if verb in {"create", "swap"}:
            store.objects[key] = (f"{len(store.objects)}{verb}{datetime.now(UTC)}".encode(), 0.0)

    store.on_call = always_first
    with pytest.raises(ConflictError, match="its own name"):
        beat(store, "web-1")


@pytest.mark.parametrize(
    ("one", "live"),
    [
        pytest.param(beat_of("a", ago=180), True, id="three of its intervals ago"),
        pytest.param(beat_of("a", ago=181), False, id="longer ago"),
        pytest.param(beat_of("a", ago=181, every_seconds=600.0), True, id="one that beats seldom"),
        pytest.param(beat_of("a", left=True), False, id="one that left"),
        pytest.param(beat_of("a", ago=-7200), True, id="one whose clock is ahead"),
    ],
)
def test_who_is_live(one, live):
    assert is_live(one, now=NOW) is live


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x" * 20_000, id="too large"),
        pytest.param(msgspec.json.encode(beat_of("another")), id="of another consumer"),
        pytest.param(msgspec.json.encode(beat_of("bad")).replace(b"2026", b"year"), id="no time"),
        pytest.param(
            msgspec.json.encode(beat_of("bad")).replace(b"2026-03-01T00:00:00Z", b"0001-01-01T00:00:00+09:00"),
            id="before all time",
        ),
        pytest.param(msgspec.json.encode(beat_of("bad")).replace(b"60.0", b"1e300"), id="believed for ever"),
        pytest.param(msgspec.json.encode(beat_of("bad")).replace(b'"v":1', b'"v":4'), id="of a later format"),
    ],
)
def test_one_that_cannot_be_read_is_reported_and_hides_no_other(store, data):
    store.put(heartbeat_key(TARGET, "bad"), data)
    beat(store, "web-1")
    heard = read_heartbeats(store, TARGET)
    assert names(heard.beats) == ["web-1"]
    assert len(heard.faults) == 1
    assert heartbeat_key(TARGET, "bad") in heard.faults[0]


def test_one_that_is_collected_while_it_is_read_is_passed_over(store):
    beat(store, "gone")
    beat(store, "web-1")

    def collect_it(verb, key):
        if (verb, key) == ("get", heartbeat_key(TARGET, "gone")):
            store.objects.pop(key)

    store.on_call = collect_it
    heard = read_heartbeats(store, TARGET)
    assert (names(heard.beats), heard.faults) == (["web-1"], ())


def test_convergence_reports_who_serves_it_and_who_is_behind(store):
    beat(store, "new")
    beat(store, "old", OLD, state="stale")
    beat(store, "none", None, state="never_loaded")
    beat(store, "dead", OLD, ago=10_000)
    found = convergence(store, TARGET, NEW, now=NOW)
    assert (names(found.serving), names(found.behind)) == (["new"], ["none", "old"])
    assert found.message.startswith("1 of 3 live consumers serve it; behind: none (serves nothing, never_loaded")
    assert "old (serves bbbbbbbbbbbb, stale, seen at 2026-03-01T00:00:00Z)" in found.message


def waited(store, *, seconds, during):
    """Wait by a clock that only pauses move, doing `during(n)` in the n-th pause; return what was found, and pauses."""
    clock, pauses = [NOW], []

    def pause(pause_seconds):
        clock[0] += timedelta(seconds=pause_seconds)
        pauses.append(pause_seconds)
        during(len(pauses))

    found = wait_until_converged(store, TARGET, NEW, seconds=seconds, now=lambda: clock[0], pause=pause)
    return found, pauses


def test_waiting_ends_when_the_last_consumer_has_followed(store):
    beat(store, "web-1", OLD)
    found, pauses = waited(store, seconds=60, during=lambda n: n == 3 and beat(store, "web-1", NEW, ago=-3))
    assert (names(found.serving), found.behind) == (["web-1"], ())
    assert len(pauses) == 3


def test_waiting_ends_after_the_time_with_those_that_are_behind(store):
    beat(store, "web-1", OLD)
    found, pauses = waited(store, seconds=2.5, during=lambda n: n)
    assert names(found.behind) == ["web-1"]
    assert pauses == [1.0, 1.0, 0.5]


def test_waiting_does_not_wait_for_the_dead_nor_where_nobody_reports(store):
    assert waited(store, seconds=60, during=lambda n: n)[1] == []
    beat(store, "web-1", OLD, every_seconds=10.0)
    found, pauses = waited(store, seconds=3600, during=lambda n: n)
    assert found.behind == ()
    assert len(pauses) == 31


@pytest.fixture
def shop(store):
    shop = Shop(store)
    store.clock = shop.clock.at.timestamp
    return shop


def test_status_shows_who_has_converged_and_stands_when_heartbeats_cannot_be_listed(store, shop):
    release = shop.ship(0).release.id
    now = shop.clock()
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    write_heartbeat(store, TARGET, msgspec.structs.replace(beat_of("web-1", release), seen_at=at), expected=None)
    (row,) = status(store, [TARGET], now=now)
    assert names(row.consumers.serving) == ["web-1"]
    store.inject(Fault("list", FaultMode.DENY, prefix=heartbeat_prefix(TARGET)))
    (row,) = status(store, [TARGET], now=now)
    assert row.release == release
    assert row.consumers is None
    assert row.problems


def test_collection_takes_what_the_long_dead_left_and_nothing_else(store, shop):
    shop.ship(0)
    long_ago = (shop.clock.at - KEPT - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lately = (shop.clock.at - KEPT + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, at, every in (("dead", long_ago, 60.0), ("quiet", lately, 60.0), ("seldom", long_ago, MAX_SECONDS)):
        message = msgspec.structs.replace(beat_of(name, every_seconds=every), seen_at=at)
        write_heartbeat(store, TARGET, message, expected=None)
    store.put(f"{heartbeat_prefix(TARGET)}odd.json", b"?")
    dead = (heartbeat_key(TARGET, "dead"),)
    asked = {"by": Actor("ann", "tidy up"), "now": shop.clock}
    assert collect(store, TARGET, **asked).dead_heartbeats == dead
    assert store.stat(dead[0]) is not None
    assert collect(store, TARGET, **asked, apply=True).dead_heartbeats == dead
    assert store.stat(dead[0]) is None
    assert store.stat(heartbeat_key(TARGET, "quiet")) is not None
    assert store.stat(heartbeat_key(TARGET, "seldom")) is not None
    assert store.stat(f"{heartbeat_prefix(TARGET)}odd.json") is not None
    assert store.stat(pointer_key(TARGET)) is not None


def test_looks_that_failed_are_in_the_heartbeat_and_in_what_status_says(store, shop):
    shop.ship(0)
    reader = Reader(store, "shop", "home", now=shop.clock, heartbeat="web-1")
    reader.refresh()
    assert reader.beat()
    assert heartbeat_of(store, "web-1")["v"] == 2  # what earlier versions read, too
    store.inject(Fault("get", FaultMode.FAIL, times=2))
    reader.refresh()
    assert reader.beat()
    assert heartbeat_of(store, "web-1")["failures"] == {"outage": 1}
    (row,) = status(store, [TARGET], now=shop.clock())
    assert row.consumers.message == "1 of 1 live consumers serve it; 1 poll failed: 1 outage"


def heartbeat_of(store, consumer):
    return json.loads(store.get(heartbeat_key(TARGET, consumer), max_bytes=32_000).data)
