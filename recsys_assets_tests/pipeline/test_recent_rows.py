"""Recent rows: decoded once for each version, only for bytes that are proven again, and never larger than allowed."""

import pytest

from recsys_assets.errors import CorruptObjectError
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline import stored_artifact
from recsys_assets.pipeline.stored_artifact import RecentRows, keep_blob, read_rows
from recsys_assets.release.layout import blob_key
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.encoding.test_codec import TARGET, rows_of, written

SHAPE = KINDS["popularity"].row_shape
ROWS = rows_of(SHAPE, [(None, [("a", 3), ("b", 2)])])
BLOB = written(ROWS, kind="popularity")


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(stored_artifact, "_RECENT", RecentRows(max_bytes=len(BLOB.data)))
    store = MemoryStore()
    keep_blob(store, TARGET, BLOB)
    return store


def test_a_blob_that_was_decoded_is_not_decoded_again(store):
    first, again = (read_rows(store, TARGET, BLOB.ref, SHAPE) for _ in range(2))
    assert again[1] is first[1]
    assert first[1].frame().equals(ROWS.frame())


def test_a_blob_that_was_damaged_since_it_was_decoded_is_refused(store):
    read_rows(store, TARGET, BLOB.ref, SHAPE)
    store.put(blob_key(TARGET, BLOB.ref.kind, BLOB.ref.version), BLOB.data.replace(b'"a"', b'"c"'))
    with pytest.raises(CorruptObjectError):
        read_rows(store, TARGET, BLOB.ref, SHAPE)


def test_a_blob_that_is_larger_than_the_cache_is_not_kept(store, monkeypatch):
    """F21: at thirty million events the memory is needed for the work."""
    monkeypatch.setattr(stored_artifact, "_RECENT", RecentRows(max_bytes=len(BLOB.data) - 1))
    first, again = (read_rows(store, TARGET, BLOB.ref, SHAPE) for _ in range(2))
    assert again[1] is not first[1]
