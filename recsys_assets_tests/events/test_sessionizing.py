"""Sessions of events that came without one: a user's events by time, cut at gaps, whatever order they came in."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import InputError
from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.event_files import encode_events
from recsys_assets_tests.events.rows import MIDNIGHT, in_order, part, row, rows_of
from recsys_assets_tests.thoroughness import examples

MINUTE = 60_000_000_000
GAP = 30
_USERS = st.sampled_from(["u", "v", "u@2026-01-01T00:00:00.000000000Z", "é\U0001f600"])
SENT = st.tuples(st.none() | _USERS, st.sampled_from(["s", "t", "u@2026-01-01T00:00:00.000000000Z"]))
FOUND = st.tuples(_USERS, st.none())
INSTANTS = st.integers(0, 6).map(lambda n: n * GAP * MINUTE // 2) | st.integers(0, 1440 * MINUTE - 1)
ROWS = st.builds(
    lambda at, who, item: row(at, user=who[0], session=who[1], item=item),
    INSTANTS,
    SENT | FOUND | FOUND,
    st.sampled_from("ab"),
)


def sessionized(rows, gap=GAP):
    """Return rows with their sessions, one user and one event at a time: the oracle."""
    open_sessions = {}
    found = []
    for values in sorted(rows, key=lambda values: values[0]):
        ts, user, session, *rest = values
        if session is None:
            last, name = open_sessions.get(user, (None, None))
            if last is None or ts - last > gap * MINUTE:
                name = f"{user}@{instant(ts)}"
            open_sessions[user] = ts, name
            session = name
        found.append((ts, user, session, *rest))
    return found


def instant(ts):
    seconds, nanoseconds = divmod(ts, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


@given(st.lists(ROWS, max_size=40), st.randoms(use_true_random=False), st.integers(1, 3))
@examples(100)
def test_sessions_are_those_of_the_oracle_in_any_order_and_division(rows, chance, divisions):  # F25, F30
    shuffled = rows + chance.sample(rows, len(rows) // 2)
    chance.shuffle(shuffled)
    parts = [part(shuffled[n::divisions]) for n in range(divisions)]
    found, counts = canonicalize(parts, session_gap_minutes=GAP)
    assert rows_of(found) == in_order(sessionized(rows))
    assert counts.events == len(shuffled)


@given(st.lists(ROWS.filter(lambda values: values[2] is not None), max_size=20))
@examples(30)
def test_where_every_event_has_a_session_no_byte_differs(rows):
    plain, _ = canonicalize([part(rows)])
    assert encode_events(canonicalize([part(rows)], session_gap_minutes=GAP)[0]) == encode_events(plain)


@pytest.mark.parametrize(
    ("minutes", "sessions"),
    [
        pytest.param([0, 30], 1, id="the gap itself joins"),
        pytest.param([0, 30 + 1 / MINUTE], 2, id="a nanosecond more cuts"),
        pytest.param([0, 30, 60, 90], 1, id="it is counted from the event before, not from the first"),
        pytest.param([0, 31, 62], 3, id="three"),
        pytest.param([0, 0, 0], 1, id="at one instant"),
    ],
)
def test_a_session_ends_with_a_longer_gap(minutes, sessions):
    rows = [row(round(at * MINUTE), session=None, item=f"i{n}") for n, at in enumerate(minutes)]
    found, _ = canonicalize([part(rows)], session_gap_minutes=GAP)
    assert len(found.ids["session_id"]) == sessions


def test_a_session_is_named_by_its_user_and_first_instant():
    found, _ = canonicalize([part([row(5 * MINUTE, session=None), row(session="s")])], session_gap_minutes=GAP)
    assert found.ids["session_id"].to_list() == ["s", "u@2026-01-01T00:05:00.000000000Z"]


def test_a_session_over_midnight_is_one_in_each_day():
    last = row(1440 * MINUTE - 1, session=None)
    first = (MIDNIGHT + 1440 * MINUTE, *last[1:])
    days = [canonicalize([part([values])], session_gap_minutes=GAP)[0] for values in (last, first)]
    names = [day.ids["session_id"].to_list() for day in days]
    assert names == [["u@2026-01-01T23:59:59.999999999Z"], ["u@2026-01-02T00:00:00.000000000Z"]]


@pytest.mark.parametrize(
    ("values", "gap"),
    [
        pytest.param(row(session=None), None, id="no gap is set any more"),
        pytest.param(row(session=None, user=None), GAP, id="nobody's"),
    ],
)
def test_parts_that_were_read_otherwise_are_refused(values, gap):
    with pytest.raises(InputError, match=r"raw\.session_gap_minutes: run raw of this day again"):
        canonicalize([part([values])], session_gap_minutes=gap)
