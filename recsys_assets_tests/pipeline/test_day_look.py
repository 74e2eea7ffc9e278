"""A look at a day that is begun while it is written counts only for the very events that are stored."""

from concurrent.futures import Future
from datetime import date

import polars as pl
import pytest

from recsys_assets.events.event_files import decode_events, encode_events
from recsys_assets.events.events import Events
from recsys_assets.pipeline.day_look import look_at, look_of
from recsys_assets_tests.events.rows import events, row

DAY = date(2026, 1, 1)
GOOD = events([row(n, user=f"u{n}", item=f"i{n % 3}") for n in range(5)])


def ahead(looked_at):
    future = Future()
    future.set_result(look_at(looked_at, DAY))
    return future


def test_what_is_stored_as_it_was_looked_at_is_not_looked_at_again():
    begun = ahead(GOOD)
    assert look_of(decode_events(encode_events(GOOD)), DAY, begun) is begun.result()


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(Events(GOOD.codes.reverse(), GOOD.ids), id="other rows"),
        pytest.param(Events(GOOD.codes.head(4), GOOD.ids), id="fewer rows"),
        pytest.param(
            Events(GOOD.codes, {**GOOD.ids, "item_id": pl.Series("item_id", ["i0", "i1", "i1"])}), id="other ids"
        ),
        pytest.param(Events(GOOD.codes.with_columns(rank=pl.lit(None, pl.Int64)), GOOD.ids), id="an absent number"),
    ],
)
def test_other_events_are_looked_at_themselves(stored):
    found = look_of(stored, DAY, ahead(GOOD))
    assert found.events is stored
    assert (found.contract, found.profile) == (look_at(stored, DAY).contract, look_at(stored, DAY).profile)


def test_an_error_of_the_look_is_that_of_the_judgement():
    begun = Future()
    begun.set_exception(ValueError("no look"))
    with pytest.raises(ValueError, match="no look"):
        look_of(GOOD, DAY, begun)
