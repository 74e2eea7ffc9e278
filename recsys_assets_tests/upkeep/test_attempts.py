"""Days that failed before the swap: what the journal holds of them, and which of them still want somebody."""

from datetime import timedelta

import pytest

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.release.journal import newest_first, tail
from recsys_assets.release.layout import journal_key, pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.status import FAILED_SINCE, BuildFailure, failed_days, journal_failure, status_of
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import BOT, TARGET, Shop, day

REPORTED = "gate volume refused: 0 events, at least 1"


@pytest.fixture
def shop():
    opened = Shop(MemoryStore())
    opened.ship(0)
    return opened


def fail(shop, n, message=REPORTED):
    failure = BuildFailure(day(n).isoformat(), "canonical", "gate", message)
    return journal_failure(shop.store, TARGET, failure, by=BOT, now=shop.clock())


def failed(shop, now=None):
    return [entry.details["day"] for entry in failed_days(shop.store, TARGET, now=now or shop.clock())]


def test_a_failed_day_stands_in_the_journal_and_leaves_what_is_live(shop):
    live = read_current(shop.store, TARGET)
    entry = fail(shop, 1)
    assert (entry.action, entry.outcome, entry.changed) == ("build", "refused", False)
    assert (entry.actor, entry.run_id) == (BOT.name, BOT.run_id)
    assert entry.before == entry.after == live.release_id
    assert entry.details == {
        "message": f"canonical of {day(1)}: {REPORTED}",
        "day": str(day(1)),
        "step": "canonical",
        "error": "gate",
    }
    assert tail(shop.store, TARGET) == entry
    assert read_current(shop.store, TARGET) == live
    assert verify(shop.store, TARGET).problems == ()


def test_status_shows_a_failed_day_as_the_last_attempt_and_after_other_days_have_shipped(shop):
    entry = fail(shop, 1)
    found = status_of(shop.store, TARGET, now=shop.clock())
    assert (found.last, found.failed, found.problems) == (entry, (entry,), ())
    shop.ship(2)
    found = status_of(shop.store, TARGET, now=shop.clock())
    assert (found.last.action, found.failed) == ("ship", (entry,))


def test_each_day_is_shown_once_by_its_newest_attempt_until_it_is_done(shop):
    fail(shop, 1, "first")
    fail(shop, 2)
    again = fail(shop, 1, "second")
    assert failed(shop) == [str(day(1)), str(day(2))]
    assert failed_days(shop.store, TARGET, now=shop.clock())[0] == again
    shop.ship(2)
    assert failed(shop) == [str(day(1))]
    shop.ship(1)  # older than what is live by now: recorded, and so done
    assert failed(shop) == []


def test_a_failed_day_that_nobody_fixed_is_forgotten_after_a_week(shop):
    entry = fail(shop, 1)
    at = shop.clock.at
    assert failed(shop, at + FAILED_SINCE) == [str(day(1))]
    assert failed(shop, at + FAILED_SINCE + timedelta(seconds=1)) == []
    assert tail(shop.store, TARGET) == entry


def test_f6_a_swap_that_nobody_reported_is_reported_before_the_failure(shop):
    shop.ship(1)
    shop.store.delete(journal_key(TARGET, 2))  # as if the process had died right after its swap
    fail(shop, 2)
    assert [(entry.action, entry.outcome) for entry in newest_first(shop.store, TARGET)] == [
        ("build", "refused"),
        ("recover", "recovered"),
        ("ship", "done"),
    ]


def test_f11_a_damaged_pointer_does_not_hide_that_the_day_failed(shop):
    shop.store.put(pointer_key(TARGET), b"{")
    assert fail(shop, 1).after is None
    assert failed(shop) == [str(day(1))]


def test_a_store_that_is_down_is_no_answer(shop):
    shop.store.inject(Fault("create", FaultMode.FAIL, times=9))
    with pytest.raises(StoreUnavailableError):
        fail(shop, 1)
