"""Clocks that were wrong: named by status, never the order of releases, and put right by `restore-pointer`."""

from datetime import timedelta

import msgspec
import pytest

from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import rfc3339
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.journal import Actor, tail
from recsys_assets.release.layout import journal_key, pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.repair import restore_pointer
from recsys_assets.upkeep.status import status_of
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Clock, Shop

ANN = Actor("ann", "a clock was wrong")
YEAR = timedelta(days=365)
END = "9999-12-31T23:59:59.999999Z"


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    shop.ship(0)
    return shop


def ship_by_a_clock_ahead(shop, n):
    other = Shop(shop.store, clock=Clock(shop.clock() + YEAR))
    assert other.ship(n).how is Ruling.SHIP
    return read_current(shop.store, TARGET)


def write_at_the_end_of_time(shop):
    current = read_current(shop.store, TARGET)
    shop.store.put(pointer_key(TARGET), encode(msgspec.structs.replace(current.pointer, updated_at=END)))


def problems(shop):
    return " ".join(status_of(shop.store, TARGET, now=shop.clock()).problems)


def reader_of(shop, **options):
    return Reader(shop.store, TARGET.tenant, TARGET.surface, now=shop.clock, **options)


def test_f59_a_ship_by_a_clock_a_year_ahead_is_named_and_later_ships_follow_it(shop):
    reader = reader_of(shop)
    reader.refresh()
    ahead = ship_by_a_clock_ahead(shop, 1)
    assert "is in the future" in problems(shop)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    for n in (2, 3):
        assert shop.ship(n).how is Ruling.SHIP
        assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert read_current(shop.store, TARGET).updated_at - ahead.updated_at < timedelta(seconds=1)
    assert verify(shop.store, TARGET).ok


def test_f59_restore_pointer_sets_the_time_right_and_readers_go_on(shop):
    ahead = ship_by_a_clock_ahead(shop, 1)
    reader = reader_of(shop)
    reader.refresh()
    entry = restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock).entry
    assert (entry.changed, entry.after) == (True, ahead.release_id)
    assert read_current(shop.store, TARGET).updated_at < shop.clock()
    assert reader.refresh().problem is None
    assert shop.ship(2).how is Ruling.SHIP
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert reader.status().state is State.FRESH
    assert (problems(shop), verify(shop.store, TARGET).ok) == ("", True)
    assert restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock).entry.outcome == "unchanged"


def test_f59_a_clock_that_was_ahead_stops_no_expiry(shop):
    ship_by_a_clock_ahead(shop, 1)
    reader = reader_of(shop, expire_after_seconds=3600)
    reader.refresh()
    assert reader.status().state is State.FRESH
    shop.clock.at += timedelta(hours=2)
    assert reader.status().state is State.EXPIRED


def test_f59_a_pointer_of_the_year_9999_is_refused_by_all_and_put_back(shop):
    reader = reader_of(shop)
    reader.refresh()
    write_at_the_end_of_time(shop)
    assert reader.refresh().problem is Problem.BAD_POINTER
    assert "impossible time" in problems(shop)
    with pytest.raises(CorruptObjectError, match="restore-pointer"):
        shop.ship(1)
    assert restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock).entry.changed
    assert shop.ship(1).how is Ruling.SHIP
    assert reader.refresh().outcome is RefreshOutcome.CHANGED


def test_f59_a_journal_that_knows_of_the_year_9999_goes_on(shop):
    """As a version without this bound may have written it."""
    last = tail(shop.store, TARGET)
    shop.store.put(journal_key(TARGET, last.sequence), encode(msgspec.structs.replace(last, pointer_at=END)))
    assert shop.ship(1).how is Ruling.SHIP
    assert read_current(shop.store, TARGET).pointer.updated_at < rfc3339(shop.clock())
