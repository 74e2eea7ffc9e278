"""A reader serves whole releases that it has proven, says what it cannot serve and why, and keeps the last good one."""

import gc
import logging
import tracemalloc
from datetime import timedelta

import msgspec
import pytest

from recsys_assets.errors import (
    ConfigurationError,
    CorruptObjectError,
    NotFoundError,
    RefusedError,
    StoreUnavailableError,
)
from recsys_assets.identity import Target
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.serving.releases import IDLE, POINTER, Shop, answers

ALWAYS = 10**9


def fail(store, how=FaultMode.FAIL, *, prefix="", verbs=("get", "stat", "list")):
    store.inject(*(Fault(verb, how, times=ALWAYS, prefix=prefix) for verb in verbs))


def test_a_release_answers_each_kind_of_question(shop, open_reader):
    shop.ship(4)
    reader = open_reader()
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    with reader.snapshot() as release:
        assert [(row.item_id, row.count) for row in release.top_items()] == [("item 4", 7), ("other", 1)]
        assert [(row.item_id, row.count) for row in release.neighbors("item")] == [("item 4", 3)]
        assert [(row.item_id, row.score) for row in release.for_user("user")] == [("item 4", 2.0)]
        assert [(row.item_id, row.score) for row in release.next_for_user("user")] == [("item 4", 1.0)]
        assert release.tags("item") == ("tag 4",)


def test_unknown_is_not_the_same_as_empty(shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    release = reader.snapshot()
    assert release.next_for_user("idle") == ()
    assert release.next_for_user("nobody") is None
    assert (release.for_user("nobody"), release.neighbors("nothing"), release.tags("nothing")) == (None, None, None)


def test_what_comes_next_for_an_item_is_looked_up(store, open_reader):
    publish_fixture(store, "shop", "home", {"item_seq": {"a": {"b": 2, "c": 5}}})
    reader = open_reader()
    reader.refresh()
    release = reader.snapshot()
    assert [(item.item_id, item.count) for item in release.next_items("a")] == [("c", 5), ("b", 2)]
    assert release.next_items("b") is None


def test_a_kind_that_was_not_shipped_is_named(store, open_reader):
    publish_fixture(store, "shop", "home", {"popularity": {"a": 1}})
    reader = open_reader()
    reader.refresh()
    with pytest.raises(NotFoundError, match="has no cooc: it has popularity"):
        reader.snapshot().neighbors("a")


def test_a_request_holds_its_release_while_others_are_shipped_and_it_is_deleted(store, shop, open_reader):
    first = shop.ship(0)
    reader = open_reader()
    reader.refresh()
    with reader.snapshot() as held:
        shop.ship(1)
        for kind in first.refs:
            store.delete(shop.blob(first, kind))
        assert reader.refresh().outcome is RefreshOutcome.CHANGED
        assert answers(held) == {0}
    assert answers(reader.snapshot()) == {1}


def test_a_poll_that_finds_nothing_new_reads_two_small_objects(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    calls = []
    store.on_call = lambda verb, key: calls.append((verb, key))
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED
    assert calls == [("get", key) for key in IDLE]


def test_only_what_changed_is_read_again(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    old = reader.snapshot()
    second = shop.ship(1, cooc={"item": {"item 0": 3}})
    calls = []
    store.on_call = lambda _, key: calls.append(key)
    reader.refresh()
    assert shop.blob(second, "cooc") in calls  # another day's window: other bytes
    assert reader.snapshot().artifacts["cooc"] is not old.artifacts["cooc"]
    shop.ship(0)  # older: changes nothing
    calls.clear()
    reader.refresh()
    assert calls == IDLE


@pytest.mark.parametrize(
    ("how", "problem", "raised"),
    [
        pytest.param(FaultMode.FAIL, Problem.OUTAGE, StoreUnavailableError, id="no answer"),
        pytest.param(FaultMode.DENY, Problem.DENIED, ConfigurationError, id="denied"),
        pytest.param(None, Problem.NO_POINTER, NotFoundError, id="an empty store"),
    ],
)
def test_a_reader_that_never_loaded_says_why_and_serves_no_empty_list(store, open_reader, how, problem, raised):
    if how:
        fail(store, how)
    reader = open_reader()
    assert reader.refresh().problem is problem
    assert reader.status().state is State.NEVER_LOADED
    with pytest.raises(raised, match="shop/home is not served: "):
        reader.snapshot()


def test_a_reader_that_was_never_asked_to_load_says_so(open_reader):
    reader = open_reader()
    assert reader.status().state is State.NEVER_LOADED
    with pytest.raises(StoreUnavailableError, match="call start"):
        reader.snapshot()


@pytest.mark.parametrize(
    ("injure", "problem", "state"),
    [
        pytest.param(fail, Problem.OUTAGE, State.STALE, id="F11 the store is down"),
        pytest.param(
            lambda store: fail(store, prefix="artifacts/", verbs=("get",)),
            Problem.OUTAGE,
            State.STALE,
            id="F11 blobs do not answer",
        ),
        pytest.param(
            lambda store: fail(store, FaultMode.DENY, prefix="artifacts/shop/home/cooc"),
            Problem.DENIED,
            State.STALE,
            id="F11 one prefix is denied",
        ),
        pytest.param(
            lambda store: store.objects.clear(), Problem.NO_POINTER, State.STALE, id="F39 the bucket was emptied"
        ),
        pytest.param(lambda store: store.delete(POINTER), Problem.NO_POINTER, State.STALE, id="F39 no pointer"),
        pytest.param(lambda store: store.put(POINTER, b""), Problem.BAD_POINTER, State.STALE, id="F3 empty pointer"),
        pytest.param(lambda store: store.put(POINTER, b"{"), Problem.BAD_POINTER, State.STALE, id="F3 torn pointer"),
        pytest.param(
            lambda store: store.put(POINTER, b"[" * 200_000),
            Problem.BAD_POINTER,
            State.STALE,
            id="F22 deep pointer",
        ),
        pytest.param(
            lambda store: store.put(POINTER, b'{"v":' + b" " * 2_000_000),
            Problem.BAD_POINTER,
            State.STALE,
            id="F22 long pointer",
        ),
    ],
)
def test_what_served_goes_on_serving(store, shop, open_reader, injure, problem, state):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    shop.ship(1)
    before = dict(store.objects)
    injure(store)
    refresh = reader.refresh()
    assert (refresh.outcome, refresh.problem) == (RefreshOutcome.FAILED, problem)
    assert answers(reader.snapshot()) == {0}
    status = reader.status()
    assert (status.state, status.problem, status.failures) == (state, problem, 1)
    assert status.why
    store.heal()
    store.objects.update(before)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert (reader.status().state, reader.status().failures) == (State.FRESH, 0)
    assert answers(reader.snapshot()) == {1}


MUTATIONS = [
    pytest.param(None, id="F12 deleted"),
    pytest.param(lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], id="F13 a bit flipped"),
    pytest.param(lambda data: data[:-10], id="F13 cut"),
    pytest.param(lambda data: data + b" ", id="F13 longer"),
    pytest.param(lambda data: bytes(len(data)), id="F13 wrong bytes of the right size"),
]


@pytest.mark.parametrize("kind", ["popularity", "content_sim"])
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_broken_release_never_serves(store, shop, open_reader, kind, mutate):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    key = shop.blob(shop.ship(1), kind)
    good = store.objects.pop(key)
    if mutate:
        store.put(key, mutate(good[0]))
    for count in (1, 2):
        assert reader.refresh().problem is Problem.BROKEN_RELEASE
        assert (reader.status().state, reader.status().failures) == (State.BROKEN_RELEASE, count)
        assert answers(reader.snapshot()) == {0}
    store.objects[key] = good
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {1}


def test_a_start_on_a_broken_release_names_what_could_serve(store, shop, open_reader):
    good = shop.ship(0)
    store.delete(shop.blob(shop.ship(1), "cooc"))
    reader = open_reader()
    reader.refresh()
    assert reader.status().state is State.BROKEN_RELEASE
    with pytest.raises(CorruptObjectError, match=f"targets of a rollback: {good.id[:12]}"):
        reader.snapshot()


def test_a_start_on_a_broken_release_serves_the_one_before_if_it_may(store, shop, open_reader):
    shop.ship(0)
    broken = shop.ship(1)
    lost = store.objects.pop(shop.blob(broken, "cooc"))
    reader = open_reader(fall_back=True)
    assert reader.refresh().problem is Problem.BROKEN_RELEASE
    assert (reader.status().state, reader.status().source) == (State.BROKEN_RELEASE, "journal")
    assert answers(reader.snapshot()) == {0}
    store.objects[shop.blob(broken, "cooc")] = lost
    reader.refresh()
    assert (reader.status().state, reader.status().source) == (State.FRESH, "store")
    assert answers(reader.snapshot()) == {1}


def test_a_release_that_is_collected_while_it_loads_gives_way_to_the_newer(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    passing = shop.ship(1)

    def replace_it(verb, key):
        if (verb, key) == ("get", shop.blob(passing, "cooc")):
            store.on_call = None
            shop.ship(2)
            store.delete(key)

    store.on_call = replace_it
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {2}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"tenant": "rival"}, id="F20 another tenant's pointer"),
        pytest.param({"v": 2}, id="another format"),
        pytest.param({"current": {}}, id="no artifacts"),
        pytest.param({"current": {f"k{n}": "memory://store/x" for n in range(10_000)}}, id="F22 very many kinds"),
        pytest.param({"updated_at": "yesterday"}, id="no time"),
        *(
            pytest.param({"current": {"popularity": uri}}, id=f"F18 {uri}")
            for uri in (
                "file:///etc/passwd",
                "memory://other/artifacts/shop/home/popularity/{version}.json",
                "memory://store/artifacts/rival/home/popularity/{version}.json",
                "memory://store/artifacts/shop/home/cooc/{version}.json",
                "memory://store/artifacts/shop/../shop/home/popularity/{version}.json",
                "memory://store/artifacts/shop/home/popularity/{version}.json#x",
                "memory://store/artifacts/shop/home/popularity/%2e%2e/{version}.json",
                "http://169.254.169.254/latest",
                "memory://store",
                "",
            )
        ),
    ],
)
def test_a_pointer_that_leads_elsewhere_is_refused_and_never_followed(store, shop, open_reader, change):
    first = shop.ship(0)
    reader = open_reader()
    reader.refresh()
    shop.ship(1)
    pointer = msgspec.json.decode(store.objects[POINTER][0])
    forged = msgspec.json.encode(pointer | change)
    store.put(POINTER, forged.replace(b"{version}", first.refs["popularity"].version.encode()))
    read = []
    store.on_call = lambda _, key: read.append(key)
    assert reader.refresh().problem is Problem.BAD_POINTER
    assert set(read) <= {*IDLE, "registry/store.json"}, (
        "the store's own mark, for the message, and nothing that it leads to"
    )
    assert answers(reader.snapshot()) == {0}


def test_another_tenants_valid_blob_under_our_name_is_refused(store, shop, open_reader):
    """F20: copied below our own prefix, as somebody with write access could."""
    shop.ship(0)
    reader = open_reader()
    reader.refresh()
    rival = Shop(store, Target("rival", "home"))
    theirs = rival.ship(5)
    pointer = msgspec.json.decode(store.objects[POINTER][0])
    for kind in theirs.refs:
        store.put(shop.blob(theirs, kind), store.objects[rival.blob(theirs, kind)][0])
        pointer["current"][kind] = f"{store.root_uri}/{shop.blob(theirs, kind)}"
    store.put(POINTER, msgspec.json.encode(pointer | {"updated_at": "2030-01-01T00:00:00Z"}))
    assert reader.refresh().problem is Problem.BROKEN_RELEASE
    assert "it is not ours" in reader.status().why
    assert answers(reader.snapshot()) == {0}


def test_an_older_pointer_is_refused_until_somebody_accepts_it(store, shop, open_reader):
    """F40: a bucket restored from a backup."""
    shop.ship(0)
    backup = dict(store.objects)
    shop.ship(1)
    reader = open_reader()
    reader.refresh()
    store.objects.update(backup)
    assert reader.refresh().problem is Problem.OLDER_POINTER
    assert (answers(reader.snapshot()), reader.status().state) == ({1}, State.STALE)
    assert reader.refresh(accept_older=True).outcome is RefreshOutcome.CHANGED
    assert (answers(reader.snapshot()), reader.status().state) == ({0}, State.FRESH)


def test_another_bucket_in_the_place_of_ours_is_noticed(store, shop, open_reader):
    shop.ship(0)
    shop.ship(1)
    reader = open_reader()
    reader.refresh()
    other = MemoryStore()
    Shop(other).ship(0)
    store.objects.clear()
    store.objects.update(other.objects)
    assert reader.refresh().problem is Problem.OLDER_POINTER
    assert answers(reader.snapshot()) == {1}


def test_a_pointer_that_stands_still_expires(shop, clock, open_reader):
    """F41: somebody ships to another bucket, and nobody sees an error."""
    shop.ship(0)
    reader = open_reader(expire_after_seconds=24 * 3600)
    reader.refresh()
    clock.move(hours=25)
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED
    assert reader.status().state is State.EXPIRED
    assert answers(reader.snapshot()) == {0}


def test_what_nobody_confirmed_for_three_intervals_is_stale(shop, clock, open_reader):
    shop.ship(0)
    reader = open_reader(poll_seconds=60)
    reader.refresh()
    clock.move(minutes=3)
    assert reader.status().state is State.FRESH
    clock.move(seconds=1)
    assert reader.status().state is State.STALE


def test_no_state_looks_like_another(store, shop, clock, open_reader):
    reader = open_reader(expire_after_seconds=3600)
    seen = [reader.status().state]
    broken = shop.blob(shop.ship(0), "cooc")
    lost = store.objects.pop(broken)
    reader.refresh()
    seen.append(reader.status().state)
    store.objects[broken] = lost
    reader.refresh()
    seen.append(reader.status().state)
    fail(store)
    reader.refresh()
    seen.append(reader.status().state)
    clock.move(hours=2)
    seen.append(reader.status().state)
    assert seen == [State.NEVER_LOADED, State.BROKEN_RELEASE, State.FRESH, State.STALE, State.EXPIRED]


def test_a_release_larger_than_the_limit_is_refused_before_it_is_read(store, shop, open_reader):
    """F45: the size is bounded before memory is taken."""
    shop.ship(0)
    size = sum(len(data) for key, (data, _) in store.objects.items() if key.startswith("artifacts/"))
    reader = open_reader(limits=Limits(blob_bytes=size - 1, release_bytes=size - 1))
    assert reader.refresh().problem is Problem.BROKEN_RELEASE
    fits = open_reader(limits=Limits(blob_bytes=size, release_bytes=size))
    assert fits.refresh().outcome is RefreshOutcome.CHANGED


def test_what_is_kept_from_before_counts_towards_the_limit(shop, open_reader):
    wide = {"popularity": {f"item {n}": 1 for n in range(100)}}
    shop.ship(0, **wide)
    probe = open_reader()
    probe.refresh()
    reader = open_reader(limits=Limits(blob_bytes=10_000, release_bytes=probe.snapshot().size + 100))
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    shop.ship(0, **wide, cooc={"item": {f"item {n}": 1 for n in range(20)}})  # the same day: only this kind is new
    assert "has more than" in reader.refresh().why
    assert reader.status().state is State.BROKEN_RELEASE


def test_what_was_replaced_and_what_failed_to_load_is_freed(store, shop, open_reader):
    """F45: after any number of switches, and of loads that failed, one release is held."""
    wide = {"cooc": {"item": {"a long name of an item " * 40 + str(n): n for n in range(1, 1000)}}}
    reader = open_reader()
    tracemalloc.start()
    try:
        for n in range(4):
            release = shop.ship(n, **wide)
            key = shop.blob(release, "popularity")
            good = store.objects.pop(key)
            assert reader.refresh().outcome is RefreshOutcome.FAILED
            store.objects[key] = good
            assert reader.refresh().outcome is RefreshOutcome.CHANGED
            store.objects = {key: value for key, value in store.objects.items() if "/cooc/" not in key}
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 1.5 * reader.snapshot().size


def test_a_switch_is_logged_with_what_people_search_for(shop, open_reader, caplog):
    first, reader = shop.ship(0), open_reader()
    reader.refresh()
    second = shop.ship(1)
    with caplog.at_level(logging.INFO, "recsys_assets.serving"):
        reader.refresh()
    (line,) = [message for message in caplog.messages if message.startswith("artifact manifest loaded")]
    release = reader.snapshot()
    for part in (
        "tenant=shop",
        "surface=home",
        f"release={second.id}",
        f"hash={release.pointer_digest}",
        "updated_at=2026-03-01T",
        f"old={first.id}",
    ):
        assert part in line


def test_a_problem_is_a_warning_once(store, open_reader, caplog):
    fail(store)
    reader = open_reader()
    for _ in range(3):
        reader.refresh()
    assert [record.levelname for record in caplog.records if "refused" in record.message].count("WARNING") == 1


def test_a_listener_hears_of_each_switch_and_may_fail_or_refresh(shop, open_reader, caplog):
    """F44."""
    heard = []

    def listen(old, new):
        heard.append((old and old.release_id, new.release_id, reader.refresh().outcome))
        raise ValueError("a listener's own fault")

    reader = open_reader(listener=listen)
    first = shop.ship(0)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    reader.refresh()
    second = shop.ship(1)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert [(old, new) for old, new, _ in heard] == [(None, first.id), (first.id, second.id)]
    assert answers(reader.snapshot()) == {1}
    assert "the switch is kept" in caplog.text


def test_the_past_can_be_loaded_beside_what_serves(shop, open_reader):
    shop.ship(0)
    between = shop.clock.at
    shop.ship(1)
    reader = open_reader()
    reader.refresh()
    assert answers(reader.at(between)) == {0}
    assert answers(reader.at(between + timedelta(days=1))) == {1}
    assert answers(reader.snapshot()) == {1}
    with pytest.raises(RefusedError, match="nothing was live"):
        reader.at(between - timedelta(days=1))


def test_the_past_says_what_was_collected(store, shop, open_reader):
    store.delete(shop.blob(shop.ship(0), "cooc"))
    with pytest.raises(RefusedError, match="cooc is no longer"):
        open_reader().at(shop.clock.at)


@pytest.mark.parametrize(
    "limit", [{"pointer_bytes": 0}, {"blob_bytes": -1}, {"release_bytes": 0}, {"blob_bytes": 2**32}]
)
def test_limits_that_limit_nothing_or_all_are_refused(limit):
    with pytest.raises(ConfigurationError, match="positive"):
        Limits(**limit)


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_interval_of_nothing_is_refused(store, seconds):
    with pytest.raises(ConfigurationError, match="poll_seconds"):
        Reader(store, "shop", "home", poll_seconds=seconds)


def test_reading_needs_no_listing(store, shop, open_reader):
    """F11, F50: consumers may read, and not list."""
    shop.ship(0)
    store.inject(Fault("list", FaultMode.DENY, times=ALWAYS))
    reader = open_reader()
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.at(shop.clock.at)) == {0}
