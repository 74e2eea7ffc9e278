"""Crawlers are left out whole, counted by session or user, and cost the others nothing; limits stop what cannot fit."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import LimitExceededError
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import event_rows, events_of, row
from recsys_assets_tests.thoroughness import examples

LIMITS = LimitSettings()


def build(kind, rows, **params):
    return KINDS[kind].build(events_of(rows), KINDS[kind].params(**params), LIMITS)


def test_a_session_over_the_limit_of_distinct_items_is_left_out_and_counted_once():
    rows = [row(n, None, "long", item) for n, item in enumerate("abcab")] + [row(9, None, "s", i) for i in "ab"]
    built = build("cooc", rows, min_support=1, max_items_per_session=2)
    assert built.rows.frame().rows() == [("a", "b", 1), ("b", "a", 1)]
    left = built.left_out
    assert (left.what, left.groups, left.of_groups, left.events, left.share) == ("sessions", 1, 2, 5, 0.5)


def test_a_session_at_the_limit_stays_however_often_it_repeats_items():
    rows = [row(n, None, "s", item) for n, item in enumerate("abababab")]
    built = build("cooc", rows, min_support=1, max_items_per_session=2)
    assert built.rows.frame().rows() == [("a", "b", 1), ("b", "a", 1)]
    assert built.left_out.groups == 0


@pytest.mark.parametrize("kind", ["implicit", "session_seq"])
def test_a_user_over_the_limit_of_events_is_left_out_and_counted_among_named_users(kind):
    rows = [row(n, "robot", "s", "a") for n in range(4)] + [row(9, u, "s", "a") for u in ("u1", "u2", "u3", None)]
    built = build(kind, rows, max_events_per_user=3)
    assert built.rows.frame()["user_id"].to_list() == ["u1", "u2", "u3"]
    left = built.left_out
    assert (left.what, left.groups, left.of_groups, left.events, left.share) == ("users", 1, 4, 4, 0.25)


@pytest.mark.parametrize("kind", ["implicit", "session_seq"])
def test_a_user_at_the_limit_of_events_stays(kind):
    built = build(kind, [row(n, "u", "s", "a") for n in range(3)], max_events_per_user=3)
    assert (len(built.rows), built.left_out.groups, built.left_out.share) == (1, 0, 0.0)


@pytest.mark.parametrize("kind", ["popularity", "cooc", "implicit", "session_seq", "item_seq"])
@examples(50)
@given(rows=event_rows)
def test_nobody_is_left_out_of_what_is_within_limits(kind, rows):
    left = build(kind, rows).left_out
    assert (left.groups, left.events, left.share) == (0, 0, 0.0)


@examples(50)
@given(rows=event_rows, size=st.integers(7, 40))
def test_a_crawler_changes_no_neighbour(rows, size):
    crawl = [row(n, "robot", "crawl", f"c{n}") for n in range(size)]
    params = {"min_support": 1, "max_items_per_session": 6}
    alone, beside = build("cooc", rows, **params), build("cooc", [*rows, *crawl], **params)
    assert beside.rows.frame().equals(alone.rows.frame())
    assert beside.left_out.groups == alone.left_out.groups + 1
    assert beside.left_out.events == alone.left_out.events + size


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        pytest.param({"max_events": 2}, "there are 3 events, limits.max_events allows 2", id="events"),
        pytest.param({"max_distinct_items": 1}, "2 distinct items, limits.max_distinct_items allows 1", id="items"),
        pytest.param({"max_sessions": 1}, "2 distinct sessions, limits.max_sessions allows 1", id="sessions"),
        pytest.param({"max_users": 1}, "2 distinct users, limits.max_users allows 1", id="users"),
    ],
)
def test_what_would_not_fit_in_memory_stops_before_any_work_naming_number_and_setting(limits, message):
    events = events_of([row(1, "u1", "s", "a"), row(2, "u2", "s", "b"), row(3, None, "t", "b")])
    kind = KINDS["implicit"]
    with pytest.raises(LimitExceededError, match=message):
        kind.build(events, kind.params(), LimitSettings(**limits))


def test_a_catalog_over_the_limit_of_items_stops_too():
    catalog = pl.DataFrame({"item_id": ["a", "b"], "tags": [["x"], ["y"]]})
    with pytest.raises(LimitExceededError, match=r"2 catalog rows, limits\.max_distinct_items allows 1"):
        KINDS["content_sim"].build(catalog, KINDS["content_sim"].params(), LimitSettings(max_distinct_items=1))


def test_the_rows_of_a_catalog_that_count_for_nothing_are_counted():
    catalog = pl.DataFrame({"item_id": ["a", "a", "b", "c"], "tags": [["x"], ["y"], [" "], ["z"]]})
    built = KINDS["content_sim"].build(catalog, KINDS["content_sim"].params(max_items=1), LIMITS)
    assert built.rows.frame().rows() == [("a", "y")]
    assert built.numbers | {"catalog_rows": 4, "repeated_ids": 1, "without_tags": 1, "cut_items": 1} == built.numbers
