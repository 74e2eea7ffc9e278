"""What limits keep out: whole sessions and whole users, counted as shares of sessions and users."""

import pytest

from recsys_assets.artifacts.kinds import KINDS
from recsys_assets.config import LimitSettings
from recsys_assets_tests.artifacts.event_rows import events_of, row


def build(kind, rows, **params):
    known = KINDS[kind]
    return known.build(events_of(rows), known.params(**params), LimitSettings())


def test_f21_a_session_of_too_many_items_is_left_out_whole_and_counted():
    long = [row(n, None, "crawler", f"i{n}") for n in range(9)]
    short = [row(100 + 10 * s + n, None, f"s{s}", item) for s in range(3) for n, item in enumerate("ab")]
    built = build("cooc", long + short, min_support=1, max_items_per_session=8)
    left = built.left_out
    assert (left.what, left.groups, left.of_groups, left.events) == ("sessions", 1, 4, 9)
    assert left.share == 0.25
    assert sorted(built.rows.frame()["item_id"]) == ["a", "b"]


def test_a_session_at_its_limit_stays():
    rows = [row(n, None, "s", f"i{n}") for n in range(8)]
    assert build("cooc", rows, min_support=1, max_items_per_session=8).left_out.groups == 0


@pytest.mark.parametrize("kind", ["implicit", "session_seq"])
def test_f21_an_over_active_user_is_left_out_whole_and_counted_and_nobody_is_no_user(kind):
    robot = [row(n, "robot", "s", f"i{n}") for n in range(5)]
    people = [row(100 + n, f"u{n % 2}", "s", f"i{n}") for n in range(8)]
    nobody = [row(200 + n, None, "s", f"i{n}") for n in range(9)]
    built = build(kind, robot + people + nobody, max_events_per_user=4)
    left = built.left_out
    assert (left.what, left.groups, left.of_groups, left.events) == ("users", 1, 3, 5)
    assert set(built.rows.frame()["user_id"]) == {"u0", "u1"}
