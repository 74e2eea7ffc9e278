"""Law: what is left after erasing is what the same rows without the user would have been, ids and order included."""

from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.erase_users import erase_from_events, erase_from_part
from recsys_assets.ingest.line_reader import RawEvent
from recsys_assets.ingest.part_merge import part_of
from recsys_assets_tests.kinds.event_rows import USERS, event_rows, events_of
from recsys_assets_tests.thoroughness import examples

hidden_users = st.sets(st.sampled_from(USERS))


def used(events):
    return {name: ids.to_list() for name, ids in events.ids.items()}


@examples(50)
@given(event_rows, hidden_users)
def test_events_without_users_are_the_events_of_the_others(rows, hidden):
    left = erase_from_events(events_of(rows), hidden.__contains__)
    expected = events_of([row for row in rows if row.user_id not in hidden])
    if any(row.user_id in hidden for row in rows):
        assert used(left) == used(expected)
    assert_frame_equal(left.decoded(), expected.decoded())


@examples(50)
@given(event_rows, hidden_users)
def test_a_part_without_users_makes_the_canonical_day_of_the_others(rows, hidden):
    def part(some):
        return part_of([RawEvent(tenant="shop", surface="home", **row._asdict()) for row in some])

    left, _ = canonicalize([erase_from_part(part(rows), hidden.__contains__)])
    expected, _ = canonicalize([part([row for row in rows if row.user_id not in hidden])])
    assert_frame_equal(left.codes, expected.codes)
    assert used(left) == used(expected)


@examples(50)
@given(event_rows)
def test_where_nobody_is_hidden_nothing_is_copied(rows):
    events = events_of(rows)
    assert erase_from_events(events, set().__contains__) is events
