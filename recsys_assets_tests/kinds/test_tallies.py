"""A window put together from its days' tallies is the window of their events, to the last number."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import CorruptObjectError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.events import Events
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import COUNT, decode_tally, encode_tally, merge_tallies, tally_day
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import event_rows, events_of, row
from recsys_assets_tests.kinds.test_kernel_laws import OF_EVENTS, params_of
from recsys_assets_tests.thoroughness import examples

LIMITS = LimitSettings()
U32 = {"item_id": pl.UInt32, COUNT: pl.UInt32}
DAY = 100  # instants of one day in these tests

windows = st.lists(event_rows, min_size=1, max_size=4).map(
    lambda days: [[r._replace(ts=r.ts + n * DAY) for r in day] for n, day in enumerate(days)]
)


@pytest.mark.parametrize("kind", OF_EVENTS)
@examples(50)
@given(days=windows, data=st.data())
def test_tallies_of_days_make_the_same_artifact_as_their_events(kind, days, data):
    """The same sessions and users are in several days: they are judged, and a user's first event found, as one."""
    params = data.draw(params_of(kind))
    events = [events_of(rows) for rows in days]
    whole = kind.build(merge_days(events), params, LIMITS)
    tallies = [decode_tally(encode_tally(tally_day(day, kind.event_columns))) for day in events]
    summed = kind.build(merge_tallies(tallies), params, LIMITS)
    assert summed.rows.frame().equals(whole.rows.frame())
    assert (summed.left_out, summed.numbers) == (whole.left_out, whole.numbers)


def test_a_tally_has_each_row_once_in_the_order_of_its_first_event():
    events = events_of([row(n, "u", "s", item) for n, item in enumerate("babbc")])
    tally = tally_day(events, ("user_id", "item_id"))
    assert tally.decoded().rows() == [("u", "b", 3), ("u", "a", 1), ("u", "c", 1)]


def test_a_session_over_midnight_counts_its_pairs_once_and_is_judged_whole():
    days = [events_of([row(1, None, "s", i) for i in "ab"]), events_of([row(DAY, None, "s", i) for i in "abc"])]
    kind = KINDS["cooc"]
    merged = merge_tallies([tally_day(day, kind.event_columns) for day in days])
    whole = kind.build(merged, kind.params(min_support=1, max_items_per_session=3), LIMITS)
    assert whole.rows.frame().rows() == [
        *[("a", "b", 1), ("a", "c", 1)],
        *[("b", "a", 1), ("b", "c", 1)],
        *[("c", "a", 1), ("c", "b", 1)],
    ]
    left = kind.build(merged, kind.params(min_support=1, max_items_per_session=2), LIMITS).left_out
    assert (left.groups, left.of_groups, left.events) == (1, 1, 5)


@pytest.mark.parametrize("largest", [0, 255, 256, 65_535, 65_536, 2**32 - 1])
def test_numbers_of_every_width_come_back_as_they_were(largest):
    ids = pl.Series("item_id", [f"i{n:06d}" for n in range(min(largest, 70_000) + 1)])
    codes = pl.DataFrame({"item_id": [len(ids) - 1, 0], COUNT: [largest, 1]}, schema_overrides=U32)
    tally = Events(codes, {"item_id": ids})
    stored = decode_tally(encode_tally(tally))
    assert stored.codes[COUNT].dtype == (pl.UInt8 if largest < 256 else pl.UInt16 if largest < 65_536 else pl.UInt32)
    for merged in (merge_tallies([stored]), merge_tallies([stored, stored])):
        assert merged.codes.head(2).schema == codes.schema
        assert merged.decoded().head(2).equals(tally.decoded())


@examples(50)
@given(rows=event_rows)
def test_the_bytes_of_a_tally_are_a_function_of_the_day(rows):
    first, again = (encode_tally(tally_day(events_of(rows), ("user_id", "item_id"))) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("damage", [b"", b"no arrow", b"cut"])
def test_bytes_that_are_no_tally_are_refused(damage):
    data = encode_tally(tally_day(events_of([row(1, "u", "s", "a")]), ("item_id",)))
    with pytest.raises(CorruptObjectError, match="invalid tally"):
        decode_tally(data[: len(data) // 2] if damage == b"cut" else damage)
