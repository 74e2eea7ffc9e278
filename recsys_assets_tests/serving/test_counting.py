"""Counts of answers: exact whatever threads do, by kind and release, and carried by the heartbeat."""

import json
import os
import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from recsys_assets.errors import NotFoundError
from recsys_assets.release.layout import heartbeat_key
from recsys_assets.serving.counting import AnswerCounts, ReleaseCounter
from recsys_assets.serving.prometheus import ReaderCollector
from recsys_assets.serving.state import Problem
from recsys_assets.storage.memory import Fault, FaultMode
from recsys_assets.upkeep.heartbeats import MAX_KINDS, KindAnswers, read_heartbeats
from recsys_assets_tests.serving.releases import TARGET

THREADS, ROUNDS = 16, 500


def counts(**given):
    return AnswerCounts(**({"asked": 0, "empty": 0, "short": 0, "unknown": 0, "failed": 0} | given))


def test_every_question_is_counted_once_by_its_result(shop, open_reader):
    shop.ship(0)
    reader = open_reader(short_below=2)
    reader.refresh()
    snapshot = reader.snapshot()
    snapshot.neighbors("item")
    snapshot.neighbors("never seen")
    snapshot.next_for_user("user")
    snapshot.next_for_user("idle")
    snapshot.tags("item")
    snapshot.top_items(10)
    snapshot.top_items(1)
    snapshot.find("implicit", "nobody")
    (counter,) = reader.counters
    assert counter.release_id == snapshot.release_id
    assert counter.counts() == {
        "cooc": counts(asked=2, short=1, unknown=1),
        "session_seq": counts(asked=2, short=1, empty=1),
        "content_sim": counts(asked=1),
        "popularity": counts(asked=2),
        "implicit": counts(asked=1, unknown=1),
    }
    assert counter.counts()["session_seq"].answered == 1
    assert counter.counts() == counter.counts(), "to look is not to ask"


def test_threads_lose_no_count_through_a_switch(shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    barrier = threading.Barrier(THREADS + 1)

    def ask():
        barrier.wait()
        for n in range(ROUNDS):
            with reader.snapshot() as snapshot:
                snapshot.for_user("user" if n % 2 else "nobody")
                snapshot.next_for_user("idle")

    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    shop.ship(1)
    reader.refresh()
    for thread in threads:
        thread.join()
    found = [counter.counts() for counter in reader.counters]
    assert len(found) == 2
    total = {
        kind: tuple(sum(getattr(one[kind], name) for one in found if kind in one) for name in ("asked", result))
        for kind, result in (("implicit", "unknown"), ("session_seq", "empty"))
    }
    assert total == {
        "implicit": (THREADS * ROUNDS, THREADS * ROUNDS // 2),
        "session_seq": (THREADS * ROUNDS, THREADS * ROUNDS),
    }


def test_a_shard_that_cannot_be_read_counts_as_failed_and_a_kind_that_is_gone_as_unknown(store, open_reader):
    from recsys_assets.serving.testing import publish_fixture  # noqa: PLC0415 - the shop's releases have no shards

    publish_fixture(store, TARGET.tenant, TARGET.surface, {"implicit": {"u": {"i": 1}}}, shards={"implicit": 2})
    reader = open_reader()
    reader.refresh()
    store.inject(Fault("get", FaultMode.FAIL, times=9, prefix="artifacts/"))
    with pytest.raises(Exception, match="artifacts/"):
        reader.snapshot().for_user("u")
    with pytest.raises(NotFoundError):
        reader.snapshot().neighbors("x")
    for ask in (lambda release: release.find("cooc", "x"), lambda release: release.top_items()):
        with pytest.raises(NotFoundError):
            ask(reader.snapshot())
    assert reader.counters[0].counts() == {
        "implicit": counts(asked=1, failed=1),
        "cooc": counts(asked=2, unknown=2),
        "popularity": counts(asked=1, unknown=1),
    }


def test_one_question_of_sixty_four_is_timed(shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    for _ in range(640):
        reader.snapshot().for_user("user")
    assert sum(reader.counters[0].kinds["implicit"].latencies()) == 10


def test_a_heartbeat_carries_the_counts_of_the_release_and_of_the_one_before(store, shop, open_reader):
    reader = open_reader(heartbeat="web-1")
    first = shop.ship(0)
    reader.refresh()
    reader.snapshot().for_user("nobody")
    second = shop.ship(1)
    reader.refresh()
    reader.snapshot().for_user("user")
    shop.ship(2)
    reader.refresh()
    assert reader.beat()
    (beat,) = read_heartbeats(store, TARGET).beats
    assert [one.release for one in beat.answers] == [reader.snapshot().release_id, second.id]
    assert beat.answers[1].kinds == {"implicit": KindAnswers(asked=1)}
    assert first.id not in {one.release for one in beat.answers}
    assert beat.v == 2


def test_a_heartbeat_of_the_first_format_is_read_as_one_that_does_not_count(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1")
    reader.refresh()
    assert reader.beat()
    key = heartbeat_key(TARGET, "web-1")
    old = json.loads(store.get(key, max_bytes=100_000).data)
    del old["answers"]
    store.put(key, json.dumps(old | {"v": 1}).encode())
    heard = read_heartbeats(store, TARGET)
    assert heard.faults == ()
    assert not heard.beats[0].answers


def test_a_heartbeat_stays_small_however_many_kinds_a_release_has(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1")
    reader.refresh()
    many = []
    for release in "ab":
        counter = ReleaseCounter(release * 64, [f"a_kind_of_a_long_name_{n:03}" for n in range(100)])
        for number, kind in enumerate(counter.kinds.values()):
            for _ in range(number + 1):
                kind.ask(lambda _: None, "key")
        many.append(counter)
    reader._follower.counters = tuple(many)
    assert reader.beat()
    heard = read_heartbeats(store, TARGET)
    assert heard.faults == ()
    for one in heard.beats[0].answers:
        assert set(one.kinds) == {f"a_kind_of_a_long_name_{n:03}" for n in range(100 - MAX_KINDS, 100)}


def test_a_registry_exposes_answers_failures_and_ages_of_this_process(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    reader.snapshot().for_user("user")
    reader.snapshot().for_user("nobody")
    store.inject(Fault("get", FaultMode.FAIL, times=2))
    assert reader.refresh().problem is Problem.OUTAGE
    registry = CollectorRegistry()
    registry.register(ReaderCollector(reader))
    of_target = {"tenant": "shop", "surface": "home", "process": str(os.getpid())}
    of_kind = of_target | {"release": reader.snapshot().release_id, "kind": "implicit"}
    values = {
        result: registry.get_sample_value("recsys_reader_answers_total", of_kind | {"result": result})
        for result in ("answered", "empty", "unknown", "failed")
    }
    assert values == {"answered": 1, "empty": 0, "unknown": 1, "failed": 0}
    assert registry.get_sample_value("recsys_reader_lookup_seconds_bucket", of_kind | {"le": "+Inf"}) == 1
    assert registry.get_sample_value("recsys_reader_refresh_failures_total", of_target | {"problem": "outage"}) == 1
    swapped = registry.get_sample_value("recsys_reader_swapped_timestamp_seconds", of_target)
    assert swapped == reader.status().updated_at.timestamp()
    assert generate_latest(registry)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_worker_begins_at_zero(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    reader.snapshot().for_user("user")
    store.inject(Fault("get", FaultMode.FAIL, times=2))
    assert reader.refresh().problem is Problem.OUTAGE
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        reader.snapshot().for_user("user")
        os.write(send, f"{reader.counters[0].counts()['implicit'].asked} {len(reader.refresh_failures)}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(receive, 9) == b"1 0"
    assert reader.refresh_failures == {Problem.OUTAGE: 1}
    os.close(receive)
    os.close(send)
    reader.snapshot().for_user("user")
    assert reader.counters[0].counts()["implicit"].asked == 2
