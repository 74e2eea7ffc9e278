"""A release can be tried before it is live, by the code that will load it, and nothing in the store shows it."""

import pytest

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import versions_of
from recsys_assets.serving.loading import Limits, load_trial
from recsys_assets_tests.serving.releases import START, TARGET, answers


@pytest.fixture
def older(shop):
    """The first of two releases: not the live one."""
    first = shop.ship(1)
    shop.ship(2)
    return first


def try_out(store, release, **options):
    return load_trial(store, TARGET, versions_of(release), at=START, **options)


def test_a_trial_answers_as_the_release_will(store, older):
    tried = try_out(store, older)
    assert (tried.release_id, tried.versions, answers(tried)) == (older.id, versions_of(older), {1})


def test_a_trial_moves_nothing(store, older):
    before = read_current(store, TARGET)
    try_out(store, older)
    assert read_current(store, TARGET) == before


def test_a_trial_meets_what_a_reader_would_meet(store, shop, older):
    with pytest.raises(CorruptObjectError, match="bytes"):
        try_out(store, older, limits=Limits(blob_bytes=10))
    store.put(shop.blob(older, "cooc"), b"{}")
    with pytest.raises(CorruptObjectError):
        try_out(store, older)
    store.delete(shop.blob(older, "cooc"))
    with pytest.raises(NotFoundError):
        try_out(store, older)


def test_what_a_release_holds_in_memory_is_its_bytes_and_its_tables(store, older):
    tried = try_out(store, older)
    tables = sum(
        table.itemsize * len(table)
        for artifact in tried.artifacts.values()
        for table in (artifact.rows.starts, artifact.rows.slots, artifact.rows.marks)
    )
    assert tried.held_bytes == tried.size + tables > tried.size
