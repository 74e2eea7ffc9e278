"""The journal never loses an author: the announcement of a change stays until its entry is written."""

import pytest

from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor, message_of, newest_first
from recsys_assets.release.layout import intent_prefix, pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "the night's release is empty")
EVE = Actor("eve", "who came next")
POINTER = pointer_key(TARGET)


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    for n in range(2):
        shop.ship(n)
    return shop


def after_the_swap(store, act):
    """Let `act` run right before the first call after the pointer was swapped."""
    swapped = []

    def on_call(verb, key):
        if swapped:
            store.on_call = None
            act()
        elif verb == "swap" and key == POINTER:
            swapped.append(key)

    store.on_call = on_call


def interrupt():
    raise KeyboardInterrupt


def newest_change(shop):
    return next(entry for entry in newest_first(shop.store, TARGET) if entry.changed)


def recorded_by_the_next(shop):
    """Heal the store, let somebody else act, and return the entry of the change before that."""
    shop.store.on_call = None
    shop.store.heal()
    place_hold(shop.store, TARGET, by=EVE, now=shop.clock)
    return next(e for e in newest_first(shop.store, TARGET) if e.changed and e.action != "hold")


@pytest.mark.parametrize("how", [FaultMode.DENY, FaultMode.FAIL])
def test_a_ship_that_moved_the_pointer_never_raises_as_if_it_had_not(shop, how):  # F58
    shop.stage(2)
    fault = Fault("create", how, times=10**6, prefix="registry/journal")
    after_the_swap(shop.store, lambda: shop.store.inject(fault))
    outcome = shop.publish(2)
    assert outcome.live == read_current(shop.store, TARGET).release_id == outcome.release.id
    assert outcome.entry.sequence == 0
    assert "the pointer has moved, but its journal entry could not be written" in outcome.message
    assert len(list(shop.store.list(intent_prefix(TARGET)))) == 1
    entry = recorded_by_the_next(shop)
    assert (entry.action, entry.outcome, entry.actor) == ("ship", "recovered", "nightly")


@pytest.mark.parametrize("how", [FaultMode.DENY, FaultMode.FAIL])
def test_a_rollback_whose_journal_is_closed_is_recorded_with_its_author(shop, how):
    left = read_current(shop.store, TARGET).release_id
    fault = Fault("create", how, times=10**6, prefix="registry/journal")
    after_the_swap(shop.store, lambda: shop.store.inject(fault))
    done = roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert "could not be written" in done.message
    entry = recorded_by_the_next(shop)
    assert (entry.actor, entry.reason, entry.before) == (ANN.name, ANN.reason, left)


def test_a_change_that_is_interrupted_between_swap_and_journal_is_recorded_with_its_author(shop):
    after_the_swap(shop.store, interrupt)
    with pytest.raises(KeyboardInterrupt):
        roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    entry = recorded_by_the_next(shop)
    assert (entry.action, entry.actor, entry.reason) == ("roll_back", ANN.name, ANN.reason)


def test_a_change_that_is_interrupted_before_the_swap_leaves_no_announcement(shop):
    shop.store.on_call = lambda verb, key: (
        interrupt() if (verb, key) == ("get", f"intents/{TARGET}/sweep.json") else None
    )
    with pytest.raises(KeyboardInterrupt):
        roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    shop.store.on_call = None
    assert list(shop.store.list(intent_prefix(TARGET))) == []


def test_a_mark_that_cannot_be_taken_off_does_not_hide_that_the_pointer_moved(shop):
    first = roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    shop.store.inject(Fault("delete", FaultMode.DENY, prefix="registry/bad/"))
    again = roll_back(shop.store, TARGET, to=first.left, by=EVE, now=shop.clock)
    assert read_current(shop.store, TARGET).release_id == first.left == again.live
    assert "back to" in message_of(newest_change(shop))
