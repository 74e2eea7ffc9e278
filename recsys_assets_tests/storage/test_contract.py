"""Promises of every store, tried on a folder, in memory, and on servers: mocked, faked and real ones."""

import itertools
import threading
from secrets import token_hex

import boto3
import pytest
from moto import mock_aws

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError, UnsafeNameError, UnsafeStoreError
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.proof import ensure_proven, probe
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.storage.cloud_fakes import PAGE

SERVERS = ["weed", "azurite"]

HOSTILE = [
    pytest.param("../x", id="F17 up"),
    pytest.param("a/../../x", id="F17 up from below"),
    pytest.param("/etc/passwd", id="F17 absolute"),
    pytest.param("", id="F17 empty"),
    pytest.param(" ", id="F17 blank"),
    pytest.param("a//b", id="F17 empty segment"),
    pytest.param("a/", id="F17 folder"),
    pytest.param("a\\b", id="F17 backslash"),
    pytest.param("%2e%2e/x", id="F17 percent"),
    pytest.param("a\x00b", id="F17 NUL"),
    pytest.param("a\nb", id="F17 newline"),
    pytest.param("x" * 201, id="F17 long segment"),
    pytest.param("/".join(["x" * 199] * 5), id="F17 long key"),
    pytest.param("a/b.", id="F17 trailing dot"),
    pytest.param("a/b ", id="F17 trailing space"),
    pytest.param("a/\u202eb", id="F17 right-to-left mark"),
    pytest.param("a/\ud800", id="F17 lone surrogate"),
    pytest.param("a?b", id="F17 query"),
    pytest.param("a#b", id="F17 fragment"),
    pytest.param(".locks/x", id="F17 the store's own folder"),
    pytest.param(".tmp/x", id="F17 the store's own temporaries"),
]
PLAIN = ["a.json", "a/b/c.json", "con", "ä/ö.json", "a/.hidden", "a...b", "a b/c", "🙂/🙃", "a|b,[x]"]


@pytest.fixture
def atomic_store(store, request):
    """A store for races: the mocked S3 looks at a condition first and writes after, so that two of its writers win."""
    if "moto" in request.node.callspec.id:
        pytest.skip("the mock's conditional writes are not atomic; the real server's are tried")
    return store


@pytest.fixture(
    params=["folder", "memory", "moto", "gcs", "azure", *(pytest.param(n, marks=pytest.mark.slow) for n in SERVERS)],
)
def store(request, tmp_path):
    if request.param == "folder":
        yield FilesystemStore(tmp_path / "store")
    elif request.param == "memory":
        yield MemoryStore()
    elif request.param in {"gcs", "azure"}:
        yield request.getfixturevalue(request.param)(f"tests/{token_hex(4)}")
    elif request.param == "azurite":
        yield request.getfixturevalue("azurite")(f"tests/{token_hex(4)}")
    elif request.param == "weed":
        server = request.getfixturevalue("s3_server")
        yield S3Store(server.client(), bucket=server.bucket, prefix=server.new_prefix())
    else:
        client = request.getfixturevalue("mocked_client")
        with mock_aws():
            client.create_bucket(Bucket="bucket")
            yield S3Store(client, bucket="bucket", prefix="some/prefix")


@pytest.fixture(scope="module")
def mocked_client():
    """A client that talks to the mock while `mock_aws` is on; one for all tests, as it takes long to make."""
    return boto3.client("s3", aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1")


def test_what_was_created_is_read_back_with_its_etag(store):
    etag = store.create("a/b.json", b"bytes")
    stored = store.get("a/b.json", max_bytes=5)
    assert (stored.data, stored.etag) == (b"bytes", etag)


def test_a_second_create_loses_and_changes_nothing(store):
    store.create("a", b"first")
    with pytest.raises(ConflictError):
        store.create("a", b"second")
    assert store.get("a", max_bytes=9).data == b"first"


def test_a_swap_replaces_what_was_read(store):
    first = store.create("a", b"first")
    second = store.swap("a", b"second", expected=first)
    stored = store.get("a", max_bytes=9)
    assert (stored.data, stored.etag) == (b"second", second)
    assert second != first


def test_a_swap_of_what_changed_since_loses_and_changes_nothing(store):
    first = store.create("a", b"first")
    store.swap("a", b"second", expected=first)
    with pytest.raises(ConflictError):
        store.swap("a", b"third", expected=first)
    assert store.get("a", max_bytes=9).data == b"second"


def test_a_swap_of_what_is_gone_loses_and_creates_nothing(store):
    etag = store.create("a", b"first")
    store.delete("a")
    with pytest.raises(ConflictError):
        store.swap("a", b"second", expected=etag)
    assert store.stat("a") is None


def test_put_writes_whatever_was_there(store):
    store.put("a", b"first")
    etag = store.put("a", b"second")
    stored = store.get("a", max_bytes=9)
    assert (stored.data, stored.etag) == (b"second", etag)


def test_what_is_absent_is_not_found(store):
    assert store.stat("a/b") is None
    with pytest.raises(NotFoundError, match="a/b"):
        store.get("a/b", max_bytes=9)
    with pytest.raises(NotFoundError, match="a/b"):
        store.get_if_changed("a/b", etag="x", max_bytes=9)


def test_a_key_below_an_object_is_not_found(store):
    store.create("a", b"bytes")
    assert store.stat("a/b") is None
    with pytest.raises(NotFoundError):
        store.get("a/b", max_bytes=9)


def test_delete_is_done_once_and_again(store):
    store.create("a/b", b"bytes")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert store.stat("a/b") is None
    store.create("a/b", b"again")


def test_a_poll_reads_only_what_changed(store):
    etag = store.create("a", b"first")
    assert store.get_if_changed("a", etag=etag, max_bytes=0) is None
    store.swap("a", b"second", expected=etag)
    changed = store.get_if_changed("a", etag=etag, max_bytes=9)
    assert changed is not None
    assert changed.data == b"second"


def test_reads_are_bounded(store):  # F22
    store.create("a", b"12345")
    assert store.get("a", max_bytes=5).data == b"12345"
    with pytest.raises(CorruptObjectError, match="4"):
        store.get("a", max_bytes=4)
    with pytest.raises(CorruptObjectError):
        store.get_if_changed("a", etag="x", max_bytes=4)


def test_an_empty_object_is_an_object(store):
    etag = store.create("a", b"")
    assert store.get("a", max_bytes=0).data == b""
    assert store.swap("a", b"1", expected=etag)


def test_stat_shows_the_size(store):
    store.create("a", b"12345")
    found = store.stat("a")
    assert found is not None
    assert (found.key, found.size) == ("a", 5)


def test_a_listing_holds_exactly_what_is_stored_below_in_order(store):
    for key in ("b/2", "b/10", "b/1/x", "ba/1", "a", "c/1"):
        store.create(key, b"12")
    assert [item.key for item in store.list("b/")] == ["b/1/x", "b/10", "b/2"]
    assert [item.key for item in store.list("")] == ["a", "b/1/x", "b/10", "b/2", "ba/1", "c/1"]
    assert {item.size for item in store.list("")} == {2}
    assert list(store.list("nothing/")) == []


def test_a_prefix_that_matches_half_a_name_is_refused(store):
    with pytest.raises(UnsafeNameError, match="slash"):
        list(store.list("b"))


@pytest.mark.slow
def test_a_listing_is_whole_beyond_one_page(store, request):
    server = request.node.callspec.params["store"]
    if server == "azurite":
        pytest.skip("its pages have 5,000 objects; those of the fake are read")
    keys = [f"many/{n:05d}" for n in range(PAGE + 20)]
    for key in keys:
        store.put(key, b"1")
    if not isinstance(store, S3Store):
        assert [item.key for item in store.list("many/")] == keys
        return
    listing, pages = "provide-client-params.s3.ListObjectsV2", []

    def small(params, **_):
        pages.append(params)
        return {**params, "MaxKeys": PAGE}

    store._client.meta.events.register(listing, small)
    try:
        assert [item.key for item in store.list("many/")] == keys
    finally:
        store._client.meta.events.unregister(listing, small)
    assert len(pages) == 2


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_refused_before_anything_is_touched(store, key):
    for call in (
        lambda: store.get(key, max_bytes=1),
        lambda: store.get_if_changed(key, etag="x", max_bytes=1),
        lambda: store.stat(key),
        lambda: store.create(key, b"1"),
        lambda: store.swap(key, b"1", expected="x"),
        lambda: store.put(key, b"1"),
        lambda: store.delete(key),
    ):
        with pytest.raises(UnsafeNameError):
            call()
    assert list(store.list("")) == []


def test_plain_keys_of_all_kinds_stay_apart(store):  # F17
    for n, key in enumerate(PLAIN):
        store.create(key, str(n).encode())
    assert {key: store.get(key, max_bytes=9).data for key in PLAIN} == {
        key: str(n).encode() for n, key in enumerate(PLAIN)
    }
    assert sorted(item.key for item in store.list("")) == sorted(PLAIN)


def test_of_many_creators_one_wins(atomic_store):  # F5
    assert _race(8, lambda n: atomic_store.create("a", f"{n}".encode())) == 1


def test_no_update_of_a_counter_is_lost(atomic_store):  # F5
    atomic_store.create("a", b"0")

    def count(_):
        for _ in range(5):
            while True:
                stored = atomic_store.get("a", max_bytes=9)
                try:
                    atomic_store.swap("a", str(int(stored.data) + 1).encode(), expected=stored.etag)
                except ConflictError:
                    continue
                break

    _race(4, count)
    assert atomic_store.get("a", max_bytes=9).data == b"20"


def test_the_root_can_stand_in_a_uri(store):
    assert "://" in store.root_uri
    assert not store.root_uri.endswith("/")


def test_the_probe_finds_nothing_wrong_and_leaves_nothing_behind(store):  # F10
    assert all(trial.held for trial in probe(store))
    assert list(store.list("probe/")) == []


def test_a_proven_store_is_not_proven_again(store):
    ensure_proven(store)
    before = {item.key: item for item in store.list("")}
    ensure_proven(store)
    assert {item.key: item for item in store.list("")} == before


def _race(count, work):
    """Run `work(n)` in threads that start together; return how many did not lose."""
    barrier = threading.Barrier(count)
    won = itertools.count()
    errors = []

    def run(n):
        barrier.wait()
        try:
            work(n)
        except ConflictError:
            return
        except Exception as error:  # noqa: BLE001 - shown by the test, whatever it is
            errors.append(error)
        next(won)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    return next(won)


def test_a_conditional_delete_takes_only_what_was_read(store):
    first = store.create("a", b"one")
    second = store.swap("a", b"two", expected=first)
    with pytest.raises((ConflictError, UnsafeStoreError)) as refused:
        store.delete_unchanged("a", expected=first)
    assert store.get("a", max_bytes=9).data == b"two"
    if refused.type is UnsafeStoreError:  # a server that does not look at the condition is named
        return
    store.delete_unchanged("a", expected=second)
    assert store.stat("a") is None
    with pytest.raises(ConflictError):
        store.delete_unchanged("a", expected=second)
