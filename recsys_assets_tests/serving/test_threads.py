import os
import random
import signal
import sys
import threading
import time
from datetime import timedelta

import msgspec
import pytest

from recsys_assets.identity import rfc3339
from recsys_assets.serving.state import RefreshOutcome, State
from recsys_assets.serving.threads import JITTER, Poller, SingleFlight
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.serving.releases import POINTER, START, Shop, answers

THOROUGH = bool(os.environ.get("THOROUGH"))  # `make check` is thorough
SWITCHES = 200 if THOROUGH else 60
ON_DISK = 20 if THOROUGH else 12  # switches where each reads a folder or a bucket, and not memory
RELEASES = 10
FIRST_SWITCH = START + timedelta(days=1)
WAIT = 30  # seconds until a test gives up; none waits so long when all is well


def until(condition):
    """Look often; fail when it never comes true."""
    deadline = time.monotonic() + WAIT
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        tick.wait(0.002)


@pytest.fixture
def quick_switches():
    """Threads change hands fifty times as often as usual: more chances to see half of something."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture
def any_store(request, tmp_path):
    if request.param == "bucket":
        server = request.getfixturevalue("s3_server")
        return S3Store(server.client(), bucket=server.bucket, prefix=server.new_prefix())
    return MemoryStore() if request.param == "memory" else FilesystemStore(tmp_path / "store")


def ask_until(done, reader, seen, faults, asked):
    """Ask for whole releases, and note every switch seen, and every mix, wrong release or step back."""
    last = 0
    while not done.is_set():
        with reader.snapshot() as release:
            numbers = answers(release)
            asked.append(1)
            switch = round((release.updated_at - FIRST_SWITCH).total_seconds())
        if numbers != {switch % RELEASES} or switch < last:
            faults.append((switch, last, numbers))
        last = switch
        seen.add(switch)
        done.wait(0.0005)  # as requests come; without a pause sixteen threads leave the switching one no turn


def pointers_of(store, shop, switches):
    """The bytes of a pointer for each switch, to one of a few releases in turn."""
    shipped = []
    for n in range(RELEASES):
        shop.ship(n)
        shipped.append(msgspec.json.decode(store.get(POINTER, max_bytes=10_000).data))
    for switch in range(switches + 1):
        at = rfc3339(FIRST_SWITCH + timedelta(seconds=switch))
        yield msgspec.json.encode(shipped[switch % RELEASES] | {"updated_at": at})


@pytest.mark.slow
@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize(
    ("any_store", "switches"), [("memory", SWITCHES), ("folder", ON_DISK), ("bucket", ON_DISK)], indirect=["any_store"]
)
def test_sixteen_threads_through_many_switches_never_see_a_mix_and_lose_no_count(any_store, switches, open_reader):
    first, *others = pointers_of(any_store, Shop(any_store), switches)
    reader = open_reader(store=any_store)
    any_store.put(POINTER, first)
    reader.refresh()
    counters = {id(one): one for one in reader.counters}
    done, faults, seen, asked = threading.Event(), [], [set() for _ in range(16)], []
    threads = [
        threading.Thread(target=ask_until, args=(done, reader, mine, faults, asked), daemon=True) for mine in seen
    ]
    for thread in threads:
        thread.start()
    try:
        for pointer in others:
            any_store.put(POINTER, pointer)
            assert reader.refresh().outcome is RefreshOutcome.CHANGED
            counters |= {id(one): one for one in reader.counters}
        until(lambda: all(switches in mine for mine in seen))
    finally:
        done.set()
        for thread in threads:
            thread.join(WAIT)
    assert faults == []
    assert len(set.union(*seen)) > min(switches / 2, 20)  # they did ask while releases were switched
    counted = sum(one.kinds["cooc"].counts().asked for one in counters.values())
    assert counted == len(asked), "each whole answer asks once"


def test_refreshes_at_once_are_one(store, shop, open_reader):
    """F44, F46."""
    shop.ship(0)
    reader = open_reader()
    entered, go = threading.Event(), threading.Event()
    looks = []

    def hold(_, key):
        if key == POINTER:
            looks.append(key)
            entered.set()
            assert go.wait(WAIT)

    store.on_call = hold
    results = []
    threads = [threading.Thread(target=lambda: results.append(reader.refresh()), daemon=True) for _ in range(8)]
    threads[0].start()
    assert entered.wait(WAIT)
    for thread in threads[1:]:
        thread.start()
    assert results == []
    go.set()
    for thread in threads:
        thread.join(WAIT)
    assert {result.outcome for result in results} <= {RefreshOutcome.CHANGED, RefreshOutcome.UNCHANGED}
    assert len(results) == 8
    assert len(looks) < 8


def test_a_slow_store_delays_no_request_and_shows_as_stale(store, shop, clock, open_reader):
    """F11: an answer that takes 30 s; here the answer waits for the test, and the clock is moved."""
    shop.ship(0)
    reader = open_reader(poll_seconds=5)
    reader.refresh()
    shop.ship(1)
    entered, go = threading.Event(), threading.Event()

    def hold(_, key):
        if "cooc" in key:
            entered.set()
            assert go.wait(WAIT)

    store.on_call = hold
    slow = threading.Thread(target=reader.refresh, daemon=True)
    slow.start()
    assert entered.wait(WAIT)
    clock.move(seconds=30)
    assert answers(reader.snapshot()) == {0}
    assert reader.status().state is State.STALE
    go.set()
    slow.join(WAIT)
    assert answers(reader.snapshot()) == {1}


def test_the_thread_follows_what_is_shipped_and_ends_when_closed(shop, open_reader):
    shop.ship(0)
    with open_reader(poll_seconds=0.01) as reader:
        assert answers(reader.snapshot()) == {0}
        shop.ship(1)
        until(lambda: answers(reader.snapshot()) == {1})
    shop.ship(2)
    assert reader.close() is True
    assert answers(reader.snapshot()) == {1}


def test_a_thread_that_meets_the_unexpected_goes_on(caplog):
    calls = []

    def work():
        calls.append(1)
        raise MemoryError

    poller = Poller(work, seconds=0.001, name="test")
    poller.start()
    until(lambda: len(calls) > 2)
    assert poller.stop(wait_seconds=WAIT)
    assert "the served release stays" in caplog.text


def test_polls_are_spread():
    """F46: a hundred consumers that start at once do not ask at once."""
    waits = []

    class Stopped:
        def wait(self, seconds):
            waits.append(seconds)
            return True

    for _ in range(100):
        poller = Poller(lambda: None, seconds=60, name="test")
        poller._stopped = Stopped()
        poller._run()
    assert min(waits) >= 60 * (1 - JITTER)
    assert max(waits) <= 60 * (1 + JITTER)
    assert max(waits) - min(waits) > 60 * JITTER


def test_one_flight_gives_its_result_to_those_who_wait():
    flight = SingleFlight("none")
    entered, go = threading.Event(), threading.Event()

    def work():
        entered.set()
        assert go.wait(WAIT)
        return "done"

    results = []
    first = threading.Thread(target=lambda: results.append(flight.run(work)), daemon=True)
    first.start()
    assert entered.wait(WAIT)
    others = [
        threading.Thread(target=lambda: results.append(flight.run(lambda: "another")), daemon=True) for _ in range(3)
    ]
    for other in others:
        other.start()
    until(lambda: all(other.is_alive() for other in others))
    go.set()
    for thread in (first, *others):
        thread.join(WAIT)
    assert "done" in results
    assert len(results) == 4


def test_a_flight_that_raises_grounds_nobody():
    flight = SingleFlight("before")
    with pytest.raises(ZeroDivisionError):
        flight.run(lambda: 1 / 0)
    assert flight.run(lambda: "after") == "after"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_polls_by_itself_even_if_the_parent_was_loading(tmp_path, open_reader):
    """F44: servers load first and fork then."""
    store = FilesystemStore(tmp_path / "store")
    shop = Shop(store)
    shop.ship(0)
    ready, message = tmp_path / "ready", tmp_path / "reported"
    with open_reader(store=store, poll_seconds=0.02) as reader:
        reader._flight._lock.acquire()  # as if a refresh was under way in another thread
        child = os.fork()
        if child == 0:
            ready.touch()
            _serve_until_one(reader, message)
        reader._flight._lock.release()
        try:
            until(ready.exists)
            shop.ship(1)
            until(message.exists)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _serve_until_one(reader, message):
    """In the child: wait for the second release, report it, and never return to pytest."""
    tick = threading.Event()
    while answers(reader.snapshot()) != {1}:
        tick.wait(0.01)
    message.touch()
    while True:
        tick.wait(1)


def test_random_faults_never_show_a_mix_or_an_empty_release(store, shop, open_reader):
    """Whatever a store loses, cuts or brings back, what is served is one whole release."""
    chance = random.Random(7)  # noqa: S311 - a seed, no secret
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    for n in range(1, 60):
        release = shop.ship(n)
        hurt = shop.blob(release, chance.choice(sorted(release.refs))) if chance.random() < 0.7 else POINTER
        good = store.objects[hurt]
        if chance.random() < 0.5:
            del store.objects[hurt]
        else:
            cut = chance.randrange(len(good[0]))
            store.objects[hurt] = (good[0][:cut], 0.0)
        served = answers(reader.snapshot())
        assert reader.refresh().outcome is RefreshOutcome.FAILED
        assert answers(reader.snapshot()) == served
        store.objects[hurt] = good
        if chance.random() < 0.5:
            assert reader.refresh().outcome is RefreshOutcome.CHANGED
            assert answers(reader.snapshot()) == {n}
