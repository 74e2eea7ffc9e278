"""The analysis of a day made while it is written is used only if the stored events are equal."""

from concurrent.futures import Future
from datetime import date

import polars as pl
import pytest

from recsys_assets.events.event_files import decode_events, encode_events
from recsys_assets.events.events import Events
from recsys_assets.pipeline.day_analysis import analyse_day, analysis_of_stored
from recsys_assets_tests.events.rows import events, row

DAY = date(2026, 1, 1)
GOOD = events([row(n, user=f"u{n}", item=f"i{n % 3}") for n in range(5)])


def ahead(analysed):
    future = Future()
    future.set_result(analyse_day(analysed, DAY))
    return future


def test_equal_stored_events_are_not_analysed_again():
    begun = ahead(GOOD)
    assert analysis_of_stored(decode_events(encode_events(GOOD)), DAY, begun) is begun.result()


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
def test_other_stored_events_are_analysed(stored):
    found = analysis_of_stored(stored, DAY, ahead(GOOD))
    assert found.events is stored
    assert (found.contract, found.profile) == (analyse_day(stored, DAY).contract, analyse_day(stored, DAY).profile)


def test_an_error_of_the_analysis_is_raised_by_the_judgement():
    begun = Future()
    begun.set_exception(ValueError("no analysis"))
    with pytest.raises(ValueError, match="no analysis"):
        analysis_of_stored(GOOD, DAY, begun)
