"""Cache of one run: nothing is read twice but what another writer may change."""

import pytest

from recsys_assets.errors import NotFoundError
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.run_cache import MAX_OBJECT_BYTES, RunCache, reads_of_run


def test_an_object_is_read_once_and_one_that_the_run_wrote_is_not_read_at_all():
    store = MemoryStore()
    reads = RunCache(store)
    store.put("staging/shop/a.json", b"theirs")
    assert reads.get("staging/shop/a.json", max_bytes=9).data == b"theirs"
    etag = reads.put("staging/shop/b.json", b"ours")
    for key in ("staging/shop/a.json", "staging/shop/b.json"):
        store.put(key, b"changed")
    assert reads.get("staging/shop/a.json", max_bytes=9).data == b"theirs"
    assert reads.get("staging/shop/b.json", max_bytes=9).data == b"ours"
    assert reads.get("staging/shop/b.json", max_bytes=9).etag == etag
    reads.drop_below("staging/")
    assert reads.get("staging/shop/b.json", max_bytes=9).data == b"changed"


def test_what_other_writers_change_is_read_each_time():
    store = MemoryStore()
    reads = RunCache(store)
    for key in ("registry/hold/a.json", "registry/forgotten/a.json", "registry/bad/a.json", "registry/journal/1.json"):
        store.put(key, b"one")
        assert reads.get(key, max_bytes=9).data == b"one"
        store.put(key, b"two")
        assert reads.get(key, max_bytes=9).data == b"two"


def test_that_nothing_is_blocked_is_asked_once():
    store = MemoryStore()
    reads = RunCache(store)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            reads.get("registry/blocked/shop/home/items.json", max_bytes=9)
        store.put("registry/blocked/shop/home/items.json", b"one")


def test_an_object_that_is_too_large_is_read_again_and_a_deleted_one_is_gone():
    store = MemoryStore()
    reads = RunCache(store)
    reads.put("artifacts/a", b"x" * (MAX_OBJECT_BYTES + 1))
    store.put("artifacts/a", b"y")
    assert reads.get("artifacts/a", max_bytes=9).data == b"y"
    reads.delete("artifacts/a")
    assert reads.stat("artifacts/a") is None


def test_another_run_and_another_store_begin_with_nothing():
    store = MemoryStore()
    first = reads_of_run(store, "run 1")
    assert reads_of_run(store, "run 1") is first
    assert reads_of_run(store, "run 2") is not first
    assert reads_of_run(MemoryStore(), "run 2").origin is not store
