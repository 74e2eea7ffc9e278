"""Windows: days one behind the other, under one dictionary."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import InputError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.events import Events
from recsys_assets_tests.events.rows import ROWS, events, in_order, rows_of
from recsys_assets_tests.thoroughness import examples

DAY = 86_400_000_000_000


def later(rows, days):
    return [(ts + days * DAY, *rest) for ts, *rest in rows]


@given(st.lists(st.lists(ROWS, max_size=12), min_size=1, max_size=4))
@examples(60)
def test_days_merge_to_what_all_rows_together_would_be(days):
    days = [later(rows, number) for number, rows in enumerate(days)]
    merged = merge_days([events(rows) for rows in days])
    together = events([row for rows in days for row in rows])
    assert rows_of(merged) == rows_of(together) == in_order([row for rows in days for row in rows])
    assert merged.codes.equals(together.codes)
    assert merged.codes.schema == together.codes.schema


def test_days_with_some_columns_merge_to_those():
    def some(*items):
        whole = events([(0, None, "s", 0, item, None, None) for item in items])
        return Events(whole.codes.select("item_id"), {"item_id": whole.ids["item_id"]})

    merged = merge_days([some("b", "c"), some("a", "c")])
    assert merged.decoded()["item_id"].to_list() == ["b", "c", "a", "c"]
    assert merged.ids["item_id"].to_list() == ["a", "b", "c"]


def test_ids_that_no_row_of_a_day_uses_are_not_in_the_window():
    days = [events([(n, None, "s", 0, item, None, None) for n, item in enumerate(items)]) for items in ("abc", "cd")]
    merged = merge_days([Events(days[0].codes.filter(pl.arange(pl.len()) != 1), days[0].ids), days[1]])
    assert merged.decoded()["item_id"].to_list() == ["a", "c", "c", "d"]
    assert merged.ids["item_id"].to_list() == ["a", "c", "d"]


def test_no_day_is_an_error():
    with pytest.raises(InputError, match="at least one"):
        merge_days([])
