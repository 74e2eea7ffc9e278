"""Journal entries that are gone: nothing is deleted or numbered again on the word of the others alone."""

from datetime import timedelta

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.messages import plural
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor, newest_first, tail
from recsys_assets.release.layout import blob_prefix, journal_key
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.status import status_of
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "tidy up")


@pytest.fixture
def shop():
    """A target with four releases, between them the entries of ordinary life, all of it old."""
    shop = Shop(MemoryStore())
    shop.store.clock = lambda clock=shop.clock: clock.at.timestamp()
    for n in range(4):
        shop.ship(n)
        place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
        release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    shop.clock.at += timedelta(days=5)
    return shop


def lose(shop, *sequences):
    for sequence in sequences:
        shop.store.delete(journal_key(TARGET, sequence))


def gather(shop, keep=7):
    return collect(shop.store, TARGET, by=ANN, now=shop.clock, retention=Retention(keep=keep), apply=True)


def blobs(shop):
    return sorted(item.key for item in shop.store.list(blob_prefix(TARGET)))


@pytest.mark.parametrize("gone", [(1,), tuple(range(1, 8)), (5,), (3, 7), (1, 11)])
def test_the_newest_entry_is_found_whatever_older_ones_are_gone(shop, gone):
    newest = tail(shop.store, TARGET)
    lose(shop, *gone)
    assert tail(shop.store, TARGET) == newest


@pytest.mark.parametrize("gone", [(1,), tuple(range(1, 8)), (5,)])
def test_what_comes_after_a_gap_gets_the_next_number(shop, gone):
    newest = tail(shop.store, TARGET).sequence
    lose(shop, *gone)
    shop.ship(4)
    assert tail(shop.store, TARGET).sequence == newest + 1
    assert all(shop.store.stat(journal_key(TARGET, sequence)) is None for sequence in gone)


def test_a_listing_that_ends_early_hides_no_entry(shop):
    newest = tail(shop.store, TARGET)
    shop.store.inject(Fault("list", FaultMode.CUT))
    assert tail(shop.store, TARGET) == newest


@pytest.mark.parametrize("gone", [(1,), tuple(range(1, 8)), (5, 7)])
def test_status_names_a_gap(shop, gone):  # F53
    lose(shop, *gone)
    (problem,) = status_of(shop.store, TARGET, now=shop.clock()).problems
    assert problem.startswith(f"the journal lacks {plural(len(gone), 'entry')}, the first is {gone[0]}")
    repair_journal(shop.store, TARGET, by=ANN, now=shop.clock)
    assert not status_of(shop.store, TARGET, now=shop.clock()).problems


@pytest.mark.parametrize("gone", [(1,), tuple(range(1, 8)), (5,)])
@pytest.mark.parametrize("keep", [1, 7])
def test_nothing_is_collected_while_an_entry_is_gone(shop, gone, keep):  # F53
    before = blobs(shop)
    lose(shop, *gone)
    with pytest.raises(RefusedError, match=r"the journal lacks .*lifecycle rule"):
        gather(shop, keep)
    assert blobs(shop) == before


def test_what_only_lost_entries_knew_is_kept_by_the_release_records(shop):
    before = blobs(shop)
    lose(shop, *range(1, tail(shop.store, TARGET).sequence))
    repair_journal(shop.store, TARGET, by=ANN, now=shop.clock)
    gather(shop)
    assert blobs(shop) == before


def test_a_stray_file_among_the_entries_is_passed_over(shop):
    newest = tail(shop.store, TARGET)
    shop.store.put(journal_key(TARGET, 1).replace("000000000001", "copy of 1"), b"{}")
    assert tail(shop.store, TARGET) == newest
    assert repair_journal(shop.store, TARGET, by=ANN, now=shop.clock).filled == ()
    assert len(list(newest_first(shop.store, TARGET))) == newest.sequence
