"""Profiles of days in the store: written with each judged day, found by later days, damaged ones passed over."""

from datetime import date

from recsys_assets.pipeline.day_profile import read_past
from recsys_assets.release.layout import canonical_gates_key, canonical_profile_key
from recsys_assets_tests.pipeline.test_run_backtest import CONFIG, FIRST, SECOND, Shop


def test_each_judged_day_leaves_a_profile_that_later_days_are_compared_with(tmp_path):
    shop = Shop(tmp_path, CONFIG)
    shop.build(FIRST)
    shop.build(SECOND)
    target = shop.row.target
    past = read_past(shop.store, target, date(2030, 1, 1), most=28)
    assert [one.day for one in past.days] == [str(SECOND), str(FIRST)]
    assert past.days[0].replayed_day == str(FIRST)
    assert past.days[1].replayed_day is None
    assert b"day_replay" in shop.store.get(canonical_gates_key(target, SECOND), max_bytes=10**6).data
    shop.store.put(canonical_profile_key(target, SECOND), b"{torn")
    assert [one.day for one in read_past(shop.store, target, date(2030, 1, 1), most=28).days] == [str(FIRST)]
    assert read_past(shop.store, target, FIRST, most=28).days == ()
