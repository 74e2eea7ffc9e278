"""Age limits take what is old by its day, never what a kept release, a window or an import still needs."""

from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.release.journal import Actor, message_of, newest_first
from recsys_assets.release.layout import (
    canonical_key,
    canonical_record_key,
    journal_key,
    raw_prefix,
    staged_key,
)
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.age_limits import (
    CANONICAL,
    QUARANTINE,
    RAW,
    STAGING,
    AgeLimits,
    delete_expired,
    explain_age,
    find_expired,
    find_expired_quarantine,
)
from recsys_assets.upkeep.roots import Retention
from recsys_assets_tests.release.staging import KINDS, TARGET, Shop, day

ANN = Actor("ann", "tidy up")
KEEP_TWO = Retention(keep=2)
DAYS = 12
OLD = 30


@pytest.fixture
def shop():
    """Twelve days, shipped long ago one after another, with raw parts and bad lines."""
    shop = Shop(MemoryStore())
    for n in range(DAYS):
        shop.ship(n, content=n)
        shop.store.put(canonical_key(TARGET, day(n)), b"events")
        shop.store.put(f"{raw_prefix(day(n), TARGET)}0000.parquet", b"part")
        shop.store.put(f"raw/{day(n)}/other/shop/0000.parquet", b"another target's")
        shop.store.put(f"quarantine/{day(n)}/0.jsonl", b"bad")
    shop.clock.at = datetime.combine(day(OLD), datetime.min.time(), UTC)
    return shop


def old(shop, needed=1, staged=1, **days):
    limits = AgeLimits(days, needed, staged)
    return find_expired(shop.store, TARGET, limits, now=shop.clock, retention=KEEP_TWO)


def days_of(found):
    return sorted({one.day for one in found})


def test_without_limits_nothing_is_old(shop):
    assert old(shop) == ()
    assert find_expired_quarantine(shop.store, AgeLimits({}), now=shop.clock) == ()


def test_raw_parts_and_bad_lines_go_by_their_day(shop):
    found = old(shop, **{RAW: OLD - 3})
    assert days_of(found) == [day(0), day(1), day(2)]
    assert all(one.item.key.startswith(raw_prefix(one.day, TARGET)) for one in found), "of this target alone"
    bad = find_expired_quarantine(shop.store, AgeLimits({QUARANTINE: OLD - 2}), now=shop.clock)
    assert [one.item.key for one in bad] == [f"quarantine/{day(n)}/0.jsonl" for n in range(2)]


def test_a_canonical_day_that_a_kept_release_was_built_from_stays_however_old(shop):
    gone = days_of(old(shop, **{CANONICAL: 1}))
    assert gone == [day(n) for n in range(DAYS - 2)]
    assert days_of(old(shop, needed=5, **{CANONICAL: 1})) == [day(n) for n in range(DAYS - 5)]


def test_a_pipeline_that_stood_still_for_years_loses_no_window(shop):
    shop.clock.at += timedelta(days=3000)
    assert days_of(old(shop, needed=7, **{CANONICAL: 1})) == [day(n) for n in range(DAYS - 7)]


def test_staged_references_stay_as_long_as_an_import_may_stand_in(shop):
    assert days_of(old(shop, staged=4, **{STAGING: 1})) == [day(n) for n in range(DAYS - 4)]


def test_what_is_deleted_is_written_down_and_the_rest_still_ships(shop):
    found = old(shop, needed=3, **{CANONICAL: 1, STAGING: 1, RAW: 1})
    gone = delete_expired(shop.store, TARGET, found, by=ANN, now=shop.clock)
    assert gone == found
    for n in range(DAYS - 3):
        assert shop.store.stat(canonical_key(TARGET, day(n))) is None
        assert shop.store.stat(staged_key(TARGET, day(n), KINDS[0])) is None
    entry = next(iter(newest_first(shop.store, TARGET)))
    assert "objects past their age limits" in message_of(entry)
    assert entry.details[CANONICAL] > 0
    assert old(shop, needed=3, **{CANONICAL: 1, STAGING: 1, RAW: 1}) == ()
    assert shop.ship(DAYS, content=99).live is not None


def test_a_day_that_is_built_again_meanwhile_stays(shop):
    found = old(shop, **{CANONICAL: 1})

    class Rebuilds:
        """The same store, in which another writer replaces a record right after it was read."""

        def __getattr__(self, name):
            return getattr(shop.store, name)

        def get(self, key, *, max_bytes):
            stored = shop.store.get(key, max_bytes=max_bytes)
            if key == canonical_record_key(TARGET, day(1)):
                shop.store.put(key, stored.data + b" ")
            return stored

    gone = delete_expired(Rebuilds(), TARGET, found, by=ANN, now=shop.clock)
    assert days_of(gone) == [day(n) for n in range(DAYS - 2) if n != 1]
    assert shop.store.stat(canonical_key(TARGET, day(1))) is not None


def test_nothing_goes_when_it_is_not_known_what_is_kept(shop):
    shop.store.delete(journal_key(TARGET, 3))
    with pytest.raises(RefusedError, match="the journal lacks"):
        old(shop, **{CANONICAL: 1})


@pytest.mark.parametrize(
    ("key", "days", "message"),
    [
        (canonical_key(TARGET, day(0)), {}, "retention.canonical_days is not set"),
        (canonical_key(TARGET, day(0)), {CANONICAL: 1}, "the next `collect --apply` deletes it"),
        (canonical_key(TARGET, day(DAYS - 1)), {CANONICAL: 1}, "was built from it: live"),
        (canonical_key(TARGET, day(0)), {CANONICAL: 99}, "69 more days"),
        (canonical_key(TARGET, day(99)), {CANONICAL: 1}, "is not in the store"),
        (f"{raw_prefix(day(0), TARGET)}0000.parquet", {RAW: 1}, "the next `collect --apply` deletes it"),
        (f"quarantine/{day(0)}/0.jsonl", {QUARANTINE: 1}, "the next `collect --apply` deletes it"),
        (staged_key(TARGET, day(DAYS - 1), KINDS[0]), {STAGING: 1}, "a later build still reads it"),
    ],
)
def test_why_something_stays_or_goes_is_explained(shop, key, days, message):
    found = explain_age(shop.store, TARGET, key, AgeLimits(days), now=shop.clock, retention=KEEP_TWO)
    assert message in found


def test_other_keys_have_no_age_limit(shop):
    asked = {"now": shop.clock, "retention": KEEP_TWO}
    assert explain_age(shop.store, TARGET, "artifacts/shop/home/cooc/x.json", AgeLimits({}), **asked) is None
