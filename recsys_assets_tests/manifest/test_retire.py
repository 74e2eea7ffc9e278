"""Retiring ends what is served, on purpose and so that it can be undone; nothing that was built is lost."""

import pytest

from recsys_assets.errors import RefusedError, StoreUnavailableError
from recsys_assets.manifest.hold import release_hold
from recsys_assets.manifest.journal import Actor, newest_first
from recsys_assets.manifest.judgement import Ruling
from recsys_assets.manifest.pointer import read_current
from recsys_assets.manifest.restore import restore_pointer
from recsys_assets.manifest.retire import retire
from recsys_assets.storage.memory import Fault, MemoryStore, Mishap
from recsys_assets_tests.manifest.staging import TARGET, Shop

ANN = Actor("ann", "the shop closed")


@pytest.fixture
def shop():
    opened = Shop(MemoryStore())
    opened.ship(0)
    return opened


def test_a_retired_target_serves_nothing_and_no_automation_ships_to_it(shop):
    done = retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert "retired" in done.told
    assert read_current(shop.store, TARGET) is None
    assert shop.ship(1).how is Ruling.HELD
    assert read_current(shop.store, TARGET) is None
    entries = [entry.action for entry in newest_first(shop.store, TARGET)]
    assert entries[1:3] == ["retire", "hold"]


def test_retiring_is_undone_by_putting_the_pointer_back_and_lifting_the_hold(shop):
    live = read_current(shop.store, TARGET)
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET).release_id == live.release_id
    assert shop.ship(1).how is Ruling.SHIP


def test_a_dry_run_leaves_everything(shop):
    before = dict(shop.store.objects)
    assert retire(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True).told.startswith("dry run")
    assert shop.store.objects == before


def test_nothing_live_cannot_be_retired(shop):
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    with pytest.raises(RefusedError, match="nothing is live"):
        retire(shop.store, TARGET, by=ANN, now=shop.clock)


def test_f1_a_retirement_that_broke_off_is_done_by_running_it_again(shop):
    shop.store.inject(Fault("delete", Mishap.FAIL, prefix="registry/current/"))
    with pytest.raises(StoreUnavailableError):
        retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET) is not None
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET) is None
