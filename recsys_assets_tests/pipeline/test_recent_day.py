"""The recent day: found by its digest only, in the columns that are there, and never larger than allowed."""

import pytest

from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.canonical_commit import RecentDay
from recsys_assets_tests.events.rows import events, row

DAY = events([row(1), row(2, user=None, item="b"), row(3, event="click")])


def test_the_day_is_found_by_its_digest_in_the_columns_that_are_asked_for():
    recent = RecentDay()
    recent.keep("a", DAY)
    found = recent.find("a", ("session_id", "item_id"))
    assert found.codes.equals(DAY.codes.select("session_id", "item_id"))
    assert {name: ids.to_list() for name, ids in found.ids.items()} == {"session_id": ["s"], "item_id": ["b", "i"]}


@pytest.mark.parametrize(
    ("digest", "columns"),
    [
        pytest.param("b", ("item_id",), id="another day, or the same rebuilt"),
        pytest.param("a", ("item_id", "request_id"), id="a column that no kernel reads"),
    ],
)
def test_nothing_is_found_of_what_is_not_kept(digest, columns):
    """F29: a day that was rebuilt between its gate and a kernel has another digest, and is read from the store."""
    recent = RecentDay()
    recent.keep("a", DAY)
    assert recent.find(digest, columns) is None


def test_only_the_last_day_is_kept_and_it_can_be_let_go():
    recent = RecentDay()
    recent.keep("a", DAY)
    recent.keep("b", DAY)
    assert recent.find("a", ("item_id",)) is None
    recent.forget()
    assert recent.find("b", ("item_id",)) is None


def test_a_day_that_is_too_large_is_not_kept_and_takes_the_place_of_the_one_before():
    """F21: at thirty million events the memory is needed for the work."""
    small = events([row(1)])
    recent = RecentDay(max_bytes=small.only({column for kind in KINDS.values() for column in kind.event_columns}).size)
    recent.keep("a", small)
    assert recent.find("a", ("item_id",)) is not None
    recent.keep("b", DAY)
    assert recent.find("a", ("item_id",)) is recent.find("b", ("item_id",)) is None
