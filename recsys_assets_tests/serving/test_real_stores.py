"""Faults of a folder and of a real S3 server: what served goes on serving, and is reported by name."""

from datetime import UTC, datetime

import msgspec
import pytest

from recsys_assets.identity import Target
from recsys_assets.release.blocking import block_item, unblock_item
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.rollout import Plan
from recsys_assets.release.rollout_transitions import advance
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep.rollout_guard import RolloutLimits, RolloutVerdict, carry_out, decide
from recsys_assets_tests.serving.releases import POINTER, TARGET, Shop, answers

pytestmark = pytest.mark.slow
MUCH = 10_000_000
ANN = Actor("ann", "a test")


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    if request.param == "folder":
        return FilesystemStore(tmp_path / "store")
    server = request.getfixturevalue("s3_server")
    return S3Store(server.client(), bucket=server.bucket, prefix=server.new_prefix())


@pytest.fixture
def reader(shop, open_reader):
    """A reader that serves the first of two releases, and has not seen the second."""
    shop.ship(0)
    opened = open_reader()
    assert opened.refresh().outcome is RefreshOutcome.CHANGED
    return opened


def read(store, key):
    return store.get(key, max_bytes=MUCH).data


def forge(store, **change):
    pointer = msgspec.json.decode(read(store, POINTER))
    store.put(POINTER, msgspec.json.encode(pointer | change))


def everything(store):
    return {item.key: read(store, item.key) for item in store.list("")}


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(None, id="F12 deleted"),
        pytest.param(lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], id="F13 a bit flipped"),
        pytest.param(lambda data: data[:-10], id="F13 cut"),
        pytest.param(lambda data: data + b" ", id="F13 longer"),
        pytest.param(lambda data: bytes(len(data)), id="F13 wrong bytes of the right size"),
    ],
)
def test_a_broken_blob_never_serves_and_a_repaired_one_does(store, shop, reader, mutate):
    key = shop.blob(shop.ship(1), "cooc")
    good = read(store, key)
    store.delete(key)
    if mutate:
        store.put(key, mutate(good))
    assert reader.refresh().problem is Problem.BROKEN_RELEASE
    assert reader.status().state is State.BROKEN_RELEASE
    assert answers(reader.snapshot()) == {0}
    store.put(key, good)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {1}


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "s3://another-bucket/artifacts/shop/home/popularity/{version}.json",
        "{root}/../artifacts/shop/home/popularity/{version}.json",
        "{root}/artifacts/rival/home/popularity/{version}.json",
        "{root}/artifacts/shop/home/popularity/{version}.json#x",
        "http://169.254.169.254/latest",
    ],
)
def test_f18_a_uri_that_leads_elsewhere_is_refused(store, shop, reader, uri):
    version = shop.ship(1).refs["popularity"].version
    forge(store, current={"popularity": uri.format(root=store.root_uri, version=version)})
    assert reader.refresh().problem is Problem.BAD_POINTER
    assert answers(reader.snapshot()) == {0}


def test_f20_another_tenants_valid_blobs_under_our_name_are_refused(store, shop, reader):
    rival = Shop(store, Target("rival", "home"))
    theirs = rival.ship(5)
    current = {}
    for kind in theirs.refs:
        store.put(shop.blob(theirs, kind), read(store, rival.blob(theirs, kind)))
        current[kind] = f"{store.root_uri}/{shop.blob(theirs, kind)}"
    forge(store, current=current, updated_at="2030-01-01T00:00:00Z")
    assert reader.refresh().problem is Problem.BROKEN_RELEASE
    assert "it is not ours" in reader.status().why
    assert answers(reader.snapshot()) == {0}


def test_f39_a_store_that_was_emptied_leaves_what_is_in_memory(store, shop, reader):
    shop.ship(1)
    kept = everything(store)
    for key in kept:
        store.delete(key)
    assert reader.refresh().problem is Problem.NO_POINTER
    assert (reader.status().state, answers(reader.snapshot())) == (State.STALE, {0})
    for key, data in kept.items():
        store.put(key, data)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {1}


def test_f40_a_store_put_back_from_a_backup_is_refused_until_somebody_accepts_it(store, shop, reader):
    backup = everything(store)
    shop.ship(1)
    reader.refresh()
    for key, data in backup.items():
        store.put(key, data)
    assert reader.refresh().problem is Problem.OLDER_POINTER
    assert (reader.status().state, answers(reader.snapshot())) == (State.STALE, {1})
    assert reader.refresh(accept_older=True).outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {0}


@pytest.mark.parametrize(
    "bytes_there",
    [
        pytest.param(b"", id="F3 empty"),
        pytest.param(b"{", id="F3 torn"),
        pytest.param(b"[" * 200_000, id="F22 deep"),
        pytest.param(b'{"v":' + b" " * 2_000_000, id="F22 long"),
    ],
)
def test_a_pointer_that_cannot_be_read_leaves_what_is_in_memory(store, reader, bytes_there):
    store.put(POINTER, bytes_there)
    assert reader.refresh().problem is Problem.BAD_POINTER
    assert (reader.status().state, answers(reader.snapshot())) == (State.STALE, {0})


def test_a_rollout_and_a_blocked_item_go_their_whole_way(store, shop, open_reader):
    """A candidate that answers no user ends by what a reader counted, and a blocked item is in no answer."""
    shop.ship(0)
    reader = open_reader(rollouts=True, heartbeat="web-1", now=lambda: datetime.now(UTC))
    candidate = shop.ship(1, plan=Plan(steps=(50, 100), bake_minutes=0), implicit={"nobody": {"x": 1}})
    reader.refresh()
    for n in range(1000):
        reader.snapshot(f"user-{n}").for_user("user")
    assert reader.beat()
    decision = decide(store, TARGET, RolloutLimits(min_requests=1), by=ANN, now=lambda: datetime.now(UTC))
    assert decision.verdict is RolloutVerdict.ABORT
    carry_out(store, TARGET, decision, by=ANN, now=lambda: datetime.now(UTC))
    assert find_label(store, TARGET, Labelled.BAD, candidate.id) is not None
    block_item(store, TARGET, "item 0", by=ANN, now=lambda: datetime.now(UTC))
    reader.refresh()
    assert reader.trial is None
    assert {reader.snapshot(f"user-{n}").for_user("user") for n in range(99)} == {()}
    unblock_item(store, TARGET, "item 0", by=ANN, now=lambda: datetime.now(UTC))
    reader.refresh()
    assert answers(reader.snapshot("user-1")) == {0}
    advanced = shop.ship(2, plan=Plan(steps=(50, 100), bake_minutes=0))
    assert advance(store, TARGET, by=ANN, now=lambda: datetime.now(UTC)).entry.changed
    reader.refresh()
    assert reader.snapshot().release_id == advanced.id
