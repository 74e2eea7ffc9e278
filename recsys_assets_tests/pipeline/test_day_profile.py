"""Profiles of days in the store: written with each judged day, found by later days, damaged ones passed over."""

from datetime import date, timedelta

import msgspec
import pytest

from recsys_assets.pipeline.canonical import judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.day_profile import read_past
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_gates_key, canonical_profile_key, canonical_record_key
from recsys_assets.release.staged import find_report_of_day
from recsys_assets_tests.pipeline.test_run_backtest import CONFIG, FIRST, SECOND, Shop
from recsys_assets_tests.release.staging import change_canonical

LATER = date(2030, 1, 1)


@pytest.fixture
def shop(tmp_path):
    opened = Shop(tmp_path, CONFIG)
    opened.build(FIRST)
    opened.build(SECOND)
    return opened


def past_days(shop, day=LATER, **options):
    return [one.day for one in read_past(shop.store, shop.row.target, day, most=28, **options).days]


def test_each_judged_day_leaves_a_profile_that_later_days_are_compared_with(shop):
    target = shop.row.target
    past = read_past(shop.store, target, LATER, most=28)
    assert [one.day for one in past.days] == [str(SECOND), str(FIRST)]
    assert past.days[0].replayed_day == str(FIRST)
    assert past.days[1].replayed_day is None
    assert "day_replay" in {one.gate for one in find_report_of_day(shop.store, target, SECOND).findings}
    change_canonical(shop.store, target, SECOND, profile=msgspec.Raw(b'{"torn": 1}'))
    assert past_days(shop) == [str(FIRST)]
    shop.store.put(canonical_record_key(target, SECOND), b"{torn")
    assert past_days(shop) == past_days(shop, SECOND + timedelta(days=1)) == [str(FIRST)]
    assert past_days(shop, FIRST) == past_days(shop, first=SECOND) == []


def test_what_format_1_kept_beside_the_record_is_read_and_moves_into_it_when_the_day_is_judged(shop):
    store, target = shop.store, shop.row.target
    record = read_document(store, canonical_record_key(target, SECOND), CanonicalRecord)
    beside = canonical_gates_key(target, SECOND), canonical_profile_key(target, SECOND)
    store.put(beside[0], encode(record.gates))
    store.put(beside[1], bytes(record.profile))
    change_canonical(store, target, SECOND, gates=msgspec.UNSET, profile=msgspec.UNSET, v=1)
    assert b"gates" not in store.get(canonical_record_key(target, SECOND), max_bytes=10**6).data
    assert past_days(shop) == [str(SECOND), str(FIRST)]
    assert find_report_of_day(store, target, SECOND) == record.gates
    judge_canonical(DayContext(store, shop.settings, shop.row, SECOND))
    assert [store.stat(key) for key in beside] == [None, None]
    assert read_document(store, canonical_record_key(target, SECOND), CanonicalRecord) == record
