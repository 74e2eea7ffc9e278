"""A pointer is put back, repaired or removed only in place of the very bytes that were judged."""

from datetime import timedelta

import pytest

from recsys_assets.errors import ConflictError, RefusedError
from recsys_assets.release.document_encoding import create_document
from recsys_assets.release.documents import CollectedBlob, Sweep
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.layout import blob_prefix, pointer_key, sweep_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import restore_pointer
from recsys_assets.upkeep.retire import retire, retired_at
from recsys_assets.upkeep.roots import HORIZON
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "just to be sure")
POINTER = pointer_key(TARGET)


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    for n in range(2):
        shop.ship(n)
    return shop


def restore(shop):
    return restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock)


def live(shop):
    return read_current(shop.store, TARGET).release_id


def once(store, verb, prefix, act):
    """Let `act` run right before the next call of a verb below a prefix."""

    def on_call(called, key):
        if called == verb and key.startswith(prefix):
            store.on_call = None
            act()

    store.on_call = on_call


def test_a_healthy_pointer_is_left_alone(shop):
    before = shop.store.objects[POINTER]
    assert restore(shop).entry.outcome == "unchanged"
    assert shop.store.objects[POINTER] == before


@pytest.mark.parametrize(
    ("verb", "prefix"), [("get", "artifacts/"), ("create", "intents/"), ("get", POINTER), ("get", "registry/store")]
)
def test_a_ship_while_a_healthy_pointer_is_restored_stays_live(shop, verb, prefix):
    shipped = []
    once(shop.store, verb, prefix, lambda: shipped.append(shop.ship(2).release.id))
    restore(shop)
    assert [live(shop)] == shipped


def test_a_ship_over_a_pointer_that_was_lost_is_not_undone_by_its_restoration(shop):
    shop.store.delete(POINTER)
    shipped = []
    once(shop.store, "create", POINTER, lambda: shipped.append(shop.ship(2).release.id))
    assert restore(shop).entry.outcome == "unchanged"
    assert [live(shop)] == shipped


def test_a_torn_pointer_is_replaced_and_never_removed(shop):
    shipped = live(shop)
    shop.store.put(POINTER, shop.store.objects[POINTER][0][:40])
    absent = []
    shop.store.on_call = lambda verb, key: absent.append((verb, key)) if POINTER not in shop.store.objects else None
    restore(shop)
    assert (live(shop), absent) == (shipped, [])


def test_of_two_repairs_of_a_torn_pointer_the_later_keeps_what_was_shipped_after_the_earlier(shop):
    shop.store.put(POINTER, b"{")
    shipped = []

    def repair_and_ship():
        restore(shop)
        shipped.append(shop.ship(2).release.id)

    once(shop.store, "swap", POINTER, repair_and_ship)
    restore(shop)
    assert [live(shop)] == shipped


def test_old_bytes_that_were_put_back_are_replaced_by_what_was_live(shop):  # F40
    old = shop.store.objects[POINTER][0]
    shipped = shop.ship(2).release.id
    shop.store.put(POINTER, old)
    restore(shop)
    assert live(shop) == shipped


def test_a_rollback_while_a_target_is_retired_stays_live(shop):  # F56
    def back():
        roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)

    once(shop.store, "delete_unchanged", POINTER, back)
    with pytest.raises(ConflictError, match="changed during the retirement"):
        retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert live(shop) == next(newest_first(shop.store, TARGET)).after
    assert retired_at(shop.store, TARGET) is None


def test_a_rollback_that_a_retirement_overtakes_says_so(shop):
    once(shop.store, "swap", POINTER, lambda: retire(shop.store, TARGET, by=ANN, now=shop.clock))
    with pytest.raises(ConflictError, match="no longer is"):
        roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET) is None


def announce_a_collection_of_all(shop):
    """Announce a collection that may take every artifact, and that dies before it decides."""
    names = [item.key.removeprefix(blob_prefix(TARGET)).split("/") for item in shop.store.list(blob_prefix(TARGET))]
    everything = tuple(CollectedBlob(kind=kind, version=name.removesuffix(".json"), size=1) for kind, name in names)
    assert len(everything) == 4
    sweep = Sweep(
        id="5" * 32, at="2026-01-01T00:00:00Z", actor="bob", reason="tidy up", decided=False, taken=everything
    )
    create_document(shop.store, sweep_key(TARGET), sweep)


@pytest.mark.parametrize("lose", ["retired", "deleted"])
def test_a_lost_pointer_is_restored_though_a_collection_died_before_it_decided(shop, lose):
    shipped = live(shop)
    announce_a_collection_of_all(shop)
    if lose == "retired":
        retire(shop.store, TARGET, by=ANN, now=shop.clock)
    else:
        shop.store.delete(POINTER)
    restore(shop)
    assert live(shop) == shipped
    shop.clock.at += timedelta(days=3)
    for _ in range(2):
        collect(shop.store, TARGET, by=ANN, now=shop.clock, apply=True)
    assert live(shop) == shipped
    assert verify(shop.store, TARGET).ok
    assert roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock).entry.outcome == "done"


@pytest.mark.parametrize("lose", ["retired", "deleted"])
def test_a_collection_that_is_refused_without_a_pointer_ends_no_history(shop, lose):
    announce_a_collection_of_all(shop)
    if lose == "retired":
        retire(shop.store, TARGET, by=ANN, now=shop.clock)
    else:
        shop.store.delete(POINTER)
    with pytest.raises(RefusedError, match="nothing is collected"):
        collect(shop.store, TARGET, by=ANN, now=shop.clock, apply=True)
    assert not [entry for entry in newest_first(shop.store, TARGET) if HORIZON in entry.details]
