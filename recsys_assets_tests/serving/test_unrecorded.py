"""A pointer whose artifacts were never released together is not served as if they had been."""

import pytest

from recsys_assets.errors import CorruptObjectError
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import release_key
from recsys_assets.release.pointer import make_pointer, read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.storage.memory import Fault, FaultMode
from recsys_assets_tests.serving.releases import POINTER, TARGET

ALWAYS = 10**9


def mix(shop, releases):
    """Point at one artifact of each of several releases, as nobody ever shipped them."""
    versions = {kind: one.refs[kind].version for kind, one in zip(sorted(releases[0].refs), releases, strict=True)}
    before = read_current(shop.store, TARGET)
    pointer = make_pointer(shop.store.root_uri, TARGET, versions, now=shop.clock(), after=before.updated_at)
    shop.store.put(POINTER, encode(pointer))


@pytest.fixture
def releases(shop):
    return [shop.ship(n) for n in range(5)]


def test_f57_a_mix_of_releases_replaces_nothing_that_serves(shop, releases, open_reader):
    reader = open_reader()
    reader.refresh()
    mix(shop, releases)
    refresh = reader.refresh()
    assert (refresh.outcome, refresh.problem) == (RefreshOutcome.FAILED, Problem.UNRECORDED_RELEASE)
    assert (reader.snapshot().release_id, reader.status().state) == (releases[-1].id, State.STALE)
    roll_back(shop.store, TARGET, to=releases[2].id, by=Actor("ann", "a mix"), now=shop.clock)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert reader.status().state is State.FRESH


def test_f57_a_mix_of_releases_that_is_all_there_is_serves_and_is_never_fresh(shop, releases, open_reader):
    mix(shop, releases)
    reader = open_reader()
    for _ in range(3):
        refresh = reader.refresh()
        assert (refresh.problem, reader.status().state) == (Problem.UNRECORDED_RELEASE, State.STALE)
        assert "Roll back" in reader.status().why
    assert reader.snapshot().top_items(1)
    (counter,) = reader.counters
    assert counter.counts()["popularity"].asked == 1
    assert refresh.outcome is RefreshOutcome.UNCHANGED


def test_a_strict_reader_serves_no_release_without_its_record(shop, releases, open_reader):
    mix(shop, releases)
    reader = open_reader(strict=True)
    assert reader.refresh().outcome is RefreshOutcome.FAILED
    with pytest.raises(CorruptObjectError, match="were released together"):
        reader.snapshot()


def test_a_damaged_record_is_named_until_it_is_whole_again(store, releases, open_reader):
    key = release_key(TARGET, releases[-1].id)
    whole = store.get(key, max_bytes=10**7).data
    store.put(key, whole.replace(b'"v":2', b'"v":1'))
    reader = open_reader()
    assert reader.refresh().problem is Problem.UNRECORDED_RELEASE
    assert reader.status().state is State.STALE
    store.put(key, whole)
    reader.refresh()
    assert reader.status().state is State.FRESH


@pytest.mark.parametrize("how", [FaultMode.DENY, FaultMode.FAIL])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.usefixtures("releases")
def test_who_cannot_read_records_serves_without_them_unless_strict(store, open_reader, how, strict):
    store.inject(Fault("get", how, times=ALWAYS, prefix="releases/"))
    reader = open_reader(strict=strict)
    reader.refresh()
    assert reader.status().state is (State.NEVER_LOADED if strict else State.FRESH)


def test_a_record_that_gave_no_answer_is_asked_again(shop, store, releases, open_reader):
    mix(shop, releases)
    store.inject(Fault("get", FaultMode.FAIL, times=1, prefix="releases/"))
    reader = open_reader()
    reader.refresh()
    reader.refresh()
    assert reader.status().problem is Problem.UNRECORDED_RELEASE
