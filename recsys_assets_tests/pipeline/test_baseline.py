"""The baseline: a verified blob of live; nothing on the first day; a damaged one is reported, not raised."""

import pytest

from recsys_assets.gates.drift import NoBaseline
from recsys_assets.gates.drift_distance import Drift
from recsys_assets.identity import Target
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.baseline import compare_with_live
from recsys_assets.release.layout import blob_key, release_key
from recsys_assets.release.pointer import read_current
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.kinds.event_rows import events_of, row

TARGET = Target("shop", "home")
LIVE = {"popularity": {"tea": 7, "cup": 3}, "content_sim": {"tea": ["hot"], "cup": ["blue"], "pot": ["hot"]}}


@pytest.fixture
def store():
    return MemoryStore()


def popularity(*items: str):
    events = events_of([row(n, None, "s", item) for n, item in enumerate(items)])
    return KINDS["popularity"].build(events, KINDS["popularity"].params(), LimitSettings()).rows


def compared(store):
    return compare_with_live(store, TARGET, popularity("tea", "mug"), kind="popularity", top_items=10)


def live_version(store, kind):
    current = read_current(store, TARGET)
    assert current is not None
    return current.versions[kind]


def test_nothing_live_is_no_baseline(store):
    assert compared(store) == NoBaseline()


def test_a_kind_that_is_not_live_yet_has_no_baseline(store):
    publish_fixture(store, "shop", "home", {"cooc": {"tea": {"cup": 2}, "cup": {"tea": 2}}})
    assert compared(store) == NoBaseline()


def test_the_live_release_is_named_and_its_catalog_says_what_is_known(store):
    outcome = publish_fixture(store, "shop", "home", LIVE)
    drift = compared(store)
    assert isinstance(drift, Drift)
    assert drift.release == outcome.release.id
    assert drift.unknown_share == 0.5  # mug
    assert (drift.coverage.candidate, drift.coverage.live) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


@pytest.mark.parametrize("kind", ["popularity", "content_sim"])
def test_f13_a_damaged_live_blob_is_reported(store, kind):
    publish_fixture(store, "shop", "home", LIVE)
    key = blob_key(TARGET, kind, live_version(store, kind))
    store.put(key, store.get(key, max_bytes=10_000).data + b" ")
    drift = compared(store)
    assert isinstance(drift, NoBaseline)
    assert drift.fault


def test_f14_a_live_release_without_its_record_is_reported(store):
    outcome = publish_fixture(store, "shop", "home", LIVE)
    store.delete(release_key(TARGET, outcome.release.id))
    drift = compared(store)
    assert isinstance(drift, NoBaseline)
    assert drift.fault
