"""Blocking an item: conditional, journaled, apart from the pointer, and able to be repeated."""

import threading
from datetime import timedelta

import pytest

from recsys_assets.errors import ConfigurationError, CorruptObjectError, LimitExceededError
from recsys_assets.release import blocking
from recsys_assets.release.blocking import block_item, blocked_faults, blocked_ids, find_blocked, unblock_item
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.layout import blocked_key, pointer_key
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.status import status_of
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "a recall")


@pytest.fixture
def shop():
    return Shop(MemoryStore())


def block(shop, item="i1", **options):
    return block_item(shop.store, TARGET, item, by=ANN, now=shop.clock, **options)


def unblock(shop, item="i1", **options):
    return unblock_item(shop.store, TARGET, item, by=ANN, now=shop.clock, **options)


def blocked(shop):
    return blocked_ids(shop.store, TARGET, now=shop.clock())


def outcomes(shop):
    return [(e.action, e.outcome, e.details.get("item")) for e in newest_first(shop.store, TARGET)]


def test_blocks_are_journaled_and_leave_the_pointer_alone(shop):
    shop.ship(0)
    pointer = shop.store.objects[pointer_key(TARGET)]
    block(shop)
    block(shop)
    block(shop, "i2", until=shop.clock.at + timedelta(days=1))
    unblock(shop)
    unblock(shop)
    assert blocked(shop) == {"i2"}
    assert outcomes(shop)[:5] == [
        ("unblock_item", "unchanged", "i1"),
        ("unblock_item", "done", "i1"),
        ("block_item", "done", "i2"),
        ("block_item", "unchanged", "i1"),
        ("block_item", "done", "i1"),
    ]
    lifted = next(e for e in newest_first(shop.store, TARGET) if e.outcome == "done")
    assert (lifted.details["blocked_by"], lifted.details["blocked_because"]) == ("ann", "a recall")
    assert shop.store.objects[pointer_key(TARGET)] == pointer
    assert verify(shop.store, TARGET).ok
    found = status_of(shop.store, TARGET, now=shop.clock())
    assert (found.last.action, [one.item for one in found.blocked]) == ("ship", ["i2"]), "housekeeping hides no ship"


def test_another_end_replaces_the_first(shop):
    block(shop)
    end = shop.clock.at + timedelta(hours=1)
    assert block(shop, until=end).entry.outcome == "done"
    shop.clock.at = end
    assert blocked(shop) == frozenset()
    block(shop, "i2")
    assert [one.item for one in find_blocked(shop.store, TARGET).items] == ["i2"], "what is over goes with a write"


def test_a_dry_run_writes_nothing(shop):
    assert "would" in block(shop, dry_run=True).message
    assert shop.store.objects == {}
    block(shop)
    before = dict(shop.store.objects)
    assert "nothing would change" in block(shop, dry_run=True).message
    assert unblock(shop, dry_run=True).entry is None
    assert shop.store.objects == before


@pytest.mark.parametrize("item", ["", " i1", "i1\t", "\u00a0i1", "i\ud800", "x" * 1001])
def test_an_id_that_no_item_can_have_is_refused(shop, item):
    with pytest.raises(ConfigurationError, match="not an item id"):
        block(shop, item)
    assert shop.store.objects == {}


def test_a_block_that_is_over_already_is_refused(shop):
    with pytest.raises(ConfigurationError, match="in the past"):
        block(shop, until=shop.clock.at)


def test_the_list_stays_small(shop, monkeypatch):
    monkeypatch.setattr(blocking, "MAX_ITEMS", 2)
    block(shop, "a")
    block(shop, "b")
    with pytest.raises(LimitExceededError, match="at most 2"):
        block(shop, "c")
    block(shop, "a", until=shop.clock.at + timedelta(days=1))
    assert blocked(shop) == {"a", "b"}


def test_a_damaged_or_lost_pointer_keeps_nobody_from_blocking(shop):
    block(shop, "before the first ship")
    shop.ship(0)
    shop.store.put(pointer_key(TARGET), b"no pointer")
    assert block(shop).entry.outcome == "done"
    shop.store.delete(pointer_key(TARGET))
    assert block(shop, "i2").entry.outcome == "done"
    assert blocked(shop) == {"before the first ship", "i1", "i2"}


def test_a_damaged_list_is_named_and_not_written_over(shop):
    shop.ship(0)
    shop.store.put(blocked_key(TARGET), b'{"updated_at":"never","items":[],"v":1}')
    with pytest.raises(CorruptObjectError, match="BlockedItems"):
        block(shop)
    (fault,) = blocked_faults(shop.store, TARGET)
    assert "delete it" in fault
    assert fault in verify(shop.store, TARGET).problems
    assert any("BlockedItems" in problem for problem in status_of(shop.store, TARGET, now=shop.clock()).problems)


@pytest.mark.parametrize("mode", [FaultMode.LOSE_REPLY, FaultMode.LOSE_REQUEST])
@pytest.mark.parametrize("verb", ["create", "swap"])
def test_a_lost_reply_blocks_once(shop, verb, mode):
    if verb == "swap":
        block(shop, "i0")
    shop.store.inject(Fault(verb, mode, nth=1, times=1, prefix="registry/blocked/"))
    done = block(shop)
    assert done.entry.outcome == "done"
    assert "i1" in blocked(shop)


def test_writers_at_once_lose_no_block(shop):
    names = [f"i{n}" for n in range(8)]
    threads = [threading.Thread(target=block, args=(shop, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blocked(shop) == set(names)
    assert sorted(item for _, outcome, item in outcomes(shop) if outcome == "done") == names
