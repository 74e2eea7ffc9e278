"""A reader of a kind in shards reads the one that a key needs, holds few, and never takes a missing one for empty."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recsys_assets.artifact_format import shard_of
from recsys_assets.errors import CorruptObjectError, NotFoundError, StoreUnavailableError
from recsys_assets.identity import Window
from recsys_assets.release.layout import blob_key
from recsys_assets.release.shards import Shard, make_index
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.served import prove
from recsys_assets.serving.sharded_rows import ShardCache, with_shards
from recsys_assets.serving.state import RefreshOutcome, State
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.release.staging import artifact
from recsys_assets_tests.serving.releases import TARGET

COUNT = 8
USERS = {f"user {n}": {f"item {n}": 2} for n in range(100)}
SHARDS = "artifacts/shop/home/implicit/"


class CountingStore(MemoryStore):
    """Reports which objects were read, and can make readers of shards wait for each other."""

    def __init__(self):
        super().__init__()
        self.read = []
        self.gate = None

    def get(self, key, *, max_bytes):
        self.read.append(key)
        if self.gate and key.startswith(SHARDS):
            self.gate.wait(timeout=20)
        return super().get(key, max_bytes=max_bytes)

    @property
    def shards_read(self):
        return [key for key in self.read if key.startswith(SHARDS)]


@pytest.fixture
def store():
    return CountingStore()


def ship(store, rows=USERS, day=DAY, **more):
    return publish_fixture(
        store, "shop", "home", {"implicit": rows, "popularity": {"tea": 2}} | more, day=day, shards={"implicit": COUNT}
    ).release


@pytest.fixture
def release(store):
    return ship(store)


@pytest.fixture
def reader(store, release, open_reader):  # noqa: ARG001 - something is live before it is read
    opened = open_reader()
    assert opened.refresh().outcome is RefreshOutcome.CHANGED
    store.read.clear()
    return opened


def key_of(release, user):
    (member,) = [one for one in release.members if one.ref.kind == "implicit.shards"]
    return blob_key(TARGET, "implicit", member.shards[shard_of(user, COUNT)].version)


def test_loading_reads_the_index_and_no_shard(store, release, open_reader):
    store.read.clear()
    open_reader().refresh()
    assert store.shards_read == []
    assert blob_key(TARGET, "implicit.shards", release.refs["implicit.shards"].version) in store.read


def test_a_lookup_reads_the_one_shard_of_its_key_once(store, release, reader):
    with reader.snapshot() as snapshot:
        assert [item.item_id for item in snapshot.for_user("user 7")] == ["item 7"]
        assert store.shards_read == [key_of(release, "user 7")]
        neighbour = next(u for u in USERS if u != "user 7" and key_of(release, u) == key_of(release, "user 7"))
        assert snapshot.for_user(neighbour) is not None
        assert snapshot.for_user("nobody at all") is None
        assert set(store.shards_read) <= {key_of(release, "user 7"), key_of(release, "nobody at all")}
        assert len(store.shards_read) == len(set(store.shards_read))


def test_all_rows_are_those_that_one_object_would_have(store, reader):
    rows = reader.snapshot().rows("implicit")
    assert (len(rows), len(store.shards_read)) == (100, 0)
    assert {row.user_id: row.items[0].item_id for row in rows} == {u: next(iter(items)) for u, items in USERS.items()}
    assert [rows.row(n) for n in range(100)] == list(rows)
    with pytest.raises(IndexError):
        rows.row(100)


def test_at_most_so_many_bytes_of_shards_are_held(store, release, open_reader):
    reader = open_reader(limits=Limits(shard_bytes=2500))
    reader.refresh()
    rows = reader.snapshot().rows("implicit")
    for user in [*USERS, *USERS]:
        assert rows.find(user) is not None
        assert rows.held_bytes <= 2500
    first = next(iter(USERS))
    rows.find(first)
    store.read.clear()
    rows.find(first)
    assert store.shards_read == []  # what was asked for last is held
    assert len({key_of(release, user) for user in USERS}) == COUNT


def test_the_bytes_that_a_release_holds_count_each_shard_once(store, open_reader):
    publish_fixture(
        store, "shop", "home", {"implicit": USERS, "session_seq": USERS}, shards={"implicit": 2, "session_seq": 2}
    )
    reader = open_reader()
    reader.refresh()
    with reader.snapshot() as snapshot:
        before = snapshot.held_bytes
        assert snapshot.rows("implicit").held_bytes == 0
        snapshot.for_user("user 1")
        held = snapshot.rows("implicit").held_bytes
        assert held > 0
        assert snapshot.rows("session_seq").held_bytes == 0
        assert snapshot.held_bytes == before + held


def test_a_shard_that_alone_is_too_large_serves_and_is_not_held(release, open_reader):
    assert release is not None
    reader = open_reader(limits=Limits(shard_bytes=10))
    reader.refresh()
    rows = reader.snapshot().rows("implicit")
    assert rows.find("user 3") is not None
    assert rows.held_bytes == 0


def test_f46_threads_that_ask_for_one_shard_at_once_read_it_once(store, reader):
    store.gate = threading.Event()
    rows = reader.snapshot().rows("implicit")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(rows.find, "user 5") for _ in range(8)]
        store.gate.set()
        assert {one.result().user_id for one in asked} == {"user 5"}
    assert len(store.shards_read) == 1


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        pytest.param(lambda store, key: store.delete(key), NotFoundError, id="F12 gone"),
        pytest.param(
            lambda store, key: store.put(key, store.get(key, max_bytes=9999).data[:-1] + b"x"),
            CorruptObjectError,
            id="F13 another byte",
        ),
        pytest.param(lambda store, key: store.put(key, b""), CorruptObjectError, id="F13 empty"),
    ],
)
def test_a_shard_that_cannot_be_read_is_an_error_for_its_keys_and_never_an_empty_list(
    store, release, reader, damage, error
):
    key = key_of(release, "user 1")
    whole = store.get(key, max_bytes=9999).data
    damage(store, key)
    with reader.snapshot() as snapshot:
        for _ in range(2):  # an error is not kept
            with pytest.raises(error):
                snapshot.for_user("user 1")
        other = next(user for user in USERS if key_of(release, user) != key)
        assert snapshot.for_user(other) is not None
        assert snapshot.top_items(1)
        store.put(key, whole)
        assert snapshot.for_user("user 1") is not None


def test_a_snapshot_from_before_a_swap_goes_on_with_its_own_shards(store, release, reader):
    held = reader.snapshot()
    newer = ship(store, {user: {"new": 1} for user in USERS}, DAY.replace(day=DAY.day + 1))
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert [item.item_id for item in held.for_user("user 9")] == ["item 9"]
    assert [item.item_id for item in reader.snapshot().for_user("user 9")] == ["new"]
    assert (held.release_id, reader.snapshot().release_id) == (release.id, newer.id)


def test_f13_an_index_with_other_bytes_is_a_broken_release(store, open_reader):
    release = ship(store)
    reader = open_reader()
    store.put(blob_key(TARGET, "implicit.shards", release.refs["implicit.shards"].version), b'{"v":1}')
    assert reader.refresh().outcome is RefreshOutcome.FAILED
    assert reader.status().state is State.BROKEN_RELEASE


def test_f43_a_start_without_a_store_serves_what_is_copied_and_says_so_for_shards(
    store, release, open_reader, tmp_path
):
    assert release is not None
    assert open_reader(copy_folder=tmp_path / "copy").refresh().outcome is RefreshOutcome.CHANGED

    class SilentStore(CountingStore):
        def get(self, key, *, max_bytes):
            raise StoreUnavailableError(f"{key}: no answer of at most {max_bytes} bytes")

    reader = open_reader(store=SilentStore(), copy_folder=tmp_path / "copy")
    reader.refresh()
    assert reader.status().source == "disk"
    with reader.snapshot() as snapshot:
        assert snapshot.top_items(1)[0].item_id == "tea"
        with pytest.raises(StoreUnavailableError):
            snapshot.for_user("user 1")
    assert store.objects


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_f44_a_child_does_not_wait_for_a_read_of_its_parent(store, reader):
    rows = reader.snapshot().rows("implicit")
    store.gate = threading.Event()
    started = threading.Thread(target=rows.find, args=("user 5",))
    started.start()
    while not store.shards_read:
        os.sched_yield()
    child = os.fork()
    if child == 0:
        store.gate.set()
        os._exit(0 if rows.find("user 5") is not None else 1)
    _, status = os.waitpid(child, 0)
    store.gate.set()
    started.join(timeout=20)
    assert status == 0


def test_rows_of_a_kind_that_is_not_known_here_are_found_by_the_key_that_the_index_names(store):
    """Kinds of other packages are split into shards as ours are."""
    window = Window(DAY, DAY)
    data, version = artifact(TARGET, "likes", window, [{"user_id": "ann", "items": [{"item_id": "tea", "score": 2}]}])
    store.put(blob_key(TARGET, "likes", version), data)
    shard = Shard(version=version, size=len(data), digest=hashlib.sha256(data).hexdigest(), rows=1)
    ref, listed = make_index(TARGET, "likes", window, key="user_id", shards=[shard], whole=None)
    served = prove(TARGET, ref.kind, ref.version, listed, name="likes")
    rows = with_shards(served, TARGET, ShardCache(store, TARGET, max_bytes=10**6)).rows
    assert rows.find("ann").items[0].item_id == "tea"


def test_an_index_by_a_key_that_no_rows_have_is_refused(store):
    window = Window(DAY, DAY)
    shard = Shard(version="a" * 64, size=1, digest="a" * 64, rows=1)
    ref, listed = make_index(TARGET, "implicit", window, key="item_id", shards=[shard], whole=None)
    served = prove(TARGET, ref.kind, ref.version, listed, name="implicit")
    with pytest.raises(CorruptObjectError, match="item_id"):
        with_shards(served, TARGET, ShardCache(store, TARGET, max_bytes=10**6))
