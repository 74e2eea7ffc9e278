"""Next items within a session, on days small enough to follow by hand."""

from datetime import date

import pytest

from recsys_assets.encoding.codec import encode
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import events_of, row

KIND = KINDS["item_seq"]
GOLDEN = "97b207a5fae3ab0c79173dfe8ebe57abbc8d283f25fd49dd48b138a81e796fd0"


def sessions(**paths):
    return [row(n, None, session, item) for session, path in paths.items() for n, item in enumerate(path)]


def built(rows, **params):
    return KIND.build(events_of(rows), KIND.params(**{"min_support": 1, **params}), LimitSettings())


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param({"s": "abc"}, [("a", "b", 1), ("b", "c", 1)], id="one step, and one way"),
        pytest.param({"s": "aabb"}, [("a", "b", 1)], id="an item does not follow itself"),
        pytest.param({"s": "abab"}, [("a", "b", 1)], id="who comes back leads nowhere new"),
        pytest.param({"s": "abac"}, [("a", "b", 1), ("b", "c", 1)], id="nothing new between is passed over"),
        pytest.param({"s": "ab", "t": "ab", "u": "ba"}, [("a", "b", 2), ("b", "a", 1)], id="sessions are counted"),
        pytest.param({"s": "ac", "t": "ab"}, [("a", "b", 1), ("a", "c", 1)], id="ties by id"),
        pytest.param({"s": "a", "t": "b"}, [], id="a session of one item has no step"),
    ],
)
def test_the_next_item_is_the_one_that_came_new_right_after(paths, expected):
    assert built(sessions(**paths)).rows.frame().rows() == expected


def test_items_of_one_instant_have_no_order():
    rows = [row(0, None, "s", item) for item in "ab"] + [row(1, None, "s", item) for item in "cd"]
    assert built(rows).rows.frame().rows() == [("a", "c", 1), ("a", "d", 1), ("b", "c", 1), ("b", "d", 1)]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({"min_support": 2}, [("a", "b", 2)], id="support"),
        pytest.param({"max_next": 1}, [("a", "b", 2), ("b", "a", 1), ("c", "b", 1)], id="next items"),
        pytest.param({"max_items": 1}, [("a", "b", 2), ("a", "c", 1)], id="items of the most sessions"),
        pytest.param({"max_items_per_session": 2}, [("a", "b", 2), ("a", "c", 1)], id="long sessions"),
    ],
)
def test_a_cut_keeps_the_best(params, expected):
    rows = sessions(s="ab", t="ab", u="ac", v="cba")
    assert built(rows, **params).rows.frame().rows() == expected


def test_a_small_day_has_the_bytes_that_it_always_had():
    rows = built(sessions(s="ab", t="abc", u=["q<", "\u00e9", "b"])).rows
    day = date(2026, 1, 1)
    blob = encode(rows, kind="item_seq", target=Target("shop", "home"), window=Window(day, day), max_bytes=10_000)
    assert blob.ref.version == GOLDEN
    assert b'"neighbors":[{"item_id":"a","items":[{"item_id":"b","count":2}]},' in blob.data
