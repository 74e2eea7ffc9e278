"""Every promise of every kind, broken once: the finding names the rule, counts the offenders and shows them by id."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from recsys_assets.encoding.rows import Rows
from recsys_assets.evidence import Verdict
from recsys_assets.kinds.contracts import check_rows
from recsys_assets_tests.kinds.event_rows import ITEMS, event_rows, events_of
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.thoroughness import examples


def rows_of(kind, lists, *, key_ids=(), member_ids=()):
    """Lay out {key: [(member, value), ...]} as rows, in the order given; dictionaries as given, or sorted."""
    shape = ROW_KINDS[kind].shape
    entries = [entry for found in lists.values() for entry in found]
    key_ids = list(key_ids) or sorted(key for key in lists if key is not None)
    member_ids = list(member_ids) or sorted({member for member, _ in entries})
    return Rows(
        shape=shape,
        keys=np.array([key_ids.index(key) for key in lists if key is not None], np.uint32),
        offsets=np.cumsum([0, *(len(found) for found in lists.values())], dtype=np.int64),
        members=np.array([member_ids.index(member) for member, _ in entries], np.uint32),
        values=np.array([value for _, value in entries], np.int64),
        key_ids=pl.Series(key_ids, dtype=pl.String),
        member_ids=pl.Series(member_ids, dtype=pl.String),
    )


def check(kind, lists, *, key_ids=(), member_ids=(), **params):
    return check_rows(rows_of(kind, lists, key_ids=key_ids, member_ids=member_ids), ROW_KINDS[kind].params(**params))


GOOD = {
    "popularity": {None: [("b", 3), ("a", 2), ("c", 2)]},
    "cooc": {"a": [("b", 3), ("c", 2)], "b": [("a", 3)], "c": [("a", 2)]},
    "implicit": {"u1": [("b", 2_500_000), ("a", 1)], "u2": [("a", 1)]},
    "session_seq": {"u1": [("b", 2), ("a", 1)], "u2": []},
    "content_sim": {"a": [("red", 0), ("b&w", 0)], "b": [("red", 0)]},
    "item_seq": {"a": [("b", 3), ("c", 2)], "c": [("a", 2)]},
    "sequential_rules": {"a": [("b", 5040), ("c", 2520)], "b": [("a", 2520)]},
}


@pytest.mark.parametrize("kind", ROW_KINDS)
def test_good_rows_break_nothing(kind):
    assert check(kind, GOOD[kind]) == ()


@pytest.mark.parametrize("kind", ROW_KINDS)
def test_no_rows_break_nothing(kind):
    """Whether a day may be empty is for another gate to say."""
    assert check(kind, {} if ROW_KINDS[kind].shape.key else {None: []}) == ()


BROKEN = [
    pytest.param("popularity", {None: [("", 1)]}, {}, "member_ids_not_empty", 1, id="an empty id"),
    pytest.param("implicit", {"": [("a", 1)]}, {}, "key_ids_not_empty", 1, id="an empty user"),
    pytest.param("popularity", {None: [("a ", 2), ("\u2028b", 1)]}, {}, "member_ids_trimmed", 2, id="ids not trimmed"),
    pytest.param("implicit", {"\u3000u": [("a", 1)]}, {}, "key_ids_trimmed", 1, id="a user not trimmed"),
    pytest.param("content_sim", {"a": [("Red", 0)]}, {}, "tags_lower_case", 1, id="a tag in capitals"),
    pytest.param("content_sim", {"a": [("é\u03a3", 0)]}, {}, "tags_lower_case", 1, id="a tag with a capital sigma"),
    pytest.param("implicit", {"u2": [("a", 1)], "u1": [("a", 1)]}, {}, "keys_ascend", 1, id="users out of order"),
    pytest.param("cooc", GOOD["cooc"], {"max_items": 2}, "lists", 1, id="too many rows"),
    pytest.param("content_sim", GOOD["content_sim"], {"max_items": 1}, "lists", 1, id="too many tagged items"),
    pytest.param("popularity", GOOD["popularity"], {"max_items": 2}, "list_length", 1, id="too many items"),
    pytest.param("cooc", GOOD["cooc"], {"max_neighbors": 1}, "list_length", 1, id="too many neighbours"),
    pytest.param("session_seq", GOOD["session_seq"], {"max_items_per_user": 1}, "list_length", 1, id="a list too long"),
    pytest.param("item_seq", GOOD["item_seq"], {"max_items": 1}, "lists", 1, id="too many items with a next one"),
    pytest.param("item_seq", GOOD["item_seq"], {"max_next": 1}, "list_length", 1, id="too many next items"),
    pytest.param("item_seq", {"a": [("a", 2)]}, {}, "no_self", 1, id="an item that follows itself"),
    pytest.param("item_seq", {"a": [("b", 1)]}, {}, "values", 1, id="a next item under the support"),
    pytest.param("sequential_rules", {"a": [("a", 5040)]}, {}, "no_self", 1, id="a self entry that was not asked for"),
    pytest.param("cooc", {"a": []}, {}, "list_not_empty", 1, id="an item without neighbours"),
    pytest.param("content_sim", {"a": []}, {}, "list_not_empty", 1, id="an item without tags"),
    pytest.param("implicit", {"u": []}, {}, "list_not_empty", 1, id="a user without items"),
    pytest.param("implicit", {"u": [("a", 2), ("a", 1)]}, {}, "members_distinct", 1, id="an item twice"),
    pytest.param("content_sim", {"a": [("x", 0), ("y", 0), ("x", 0)]}, {}, "members_distinct", 1, id="a tag twice"),
    pytest.param("popularity", {None: [("a", 1), ("b", 0)]}, {}, "values", 1, id="a count of zero"),
    pytest.param("implicit", {"u": [("a", 1), ("b", -1)]}, {}, "values", 1, id="a negative score"),
    pytest.param("cooc", {"a": [("b", 1)], "b": [("a", 1)]}, {}, "values", 2, id="pairs under the support"),
    pytest.param("popularity", {None: [("a", 1), ("b", 2)]}, {}, "best_first", 1, id="worse before better"),
    pytest.param("implicit", {"u": [("b", 1), ("a", 1)]}, {}, "best_first", 1, id="ties not by id"),
    pytest.param("cooc", {"a": [("a", 2)]}, {}, "no_self", 1, id="its own neighbour"),
    pytest.param("cooc", {"a": [("b", 2)], "b": [("a", 3)]}, {}, "mirrored", 2, id="two counts for one pair"),
    pytest.param("cooc", {"a": [("b", 2)]}, {}, "mirrored", 1, id="a pair in one list only"),
    pytest.param(
        "cooc", {"a": [("b", 2)], "b": [("c", 2)], "c": [("b", 2)]}, {"max_neighbors": 2}, "mirrored", 1, id="not cut"
    ),
    pytest.param(
        "cooc",
        {"a": [("b", 9)], "b": [("c", 2)], "c": [("b", 2)]},
        {"max_neighbors": 1},
        "mirrored",
        1,
        id="cut wrongly",
    ),
]


@pytest.mark.parametrize(("kind", "lists", "params", "rule", "count"), BROKEN)
def test_a_broken_promise_is_named_counted_and_shown(kind, lists, params, rule, count):
    (finding,) = check(kind, lists, **params)
    assert (finding.gate, finding.count, finding.value, finding.verdict) == (rule, count, count, Verdict.REFUSED)
    assert len(finding.sample) == count
    assert finding.message


def test_every_rule_is_broken_by_some_case():
    rules = {
        *("member_ids_not_empty", "member_ids_trimmed", "key_ids_not_empty", "key_ids_trimmed", "tags_lower_case"),
        *("keys_ascend", "lists", "list_length", "list_not_empty"),
        *("members_distinct", "values", "best_first", "no_self", "mirrored"),
    }
    assert {case.values[3] for case in BROKEN} == rules


def test_dictionaries_out_of_order_are_found():
    found = check("popularity", {None: [("b", 2), ("a", 1)]}, member_ids=["b", "a"])
    assert [(finding.gate, finding.count) for finding in found] == [("member_ids_ascend", 1)]


@pytest.mark.parametrize(
    ("lists", "params"),
    [
        pytest.param({"a": [("b", 2)], "b": [("c", 3)], "c": [("b", 3)]}, {"max_neighbors": 1}, id="behind the cut"),
        pytest.param({"a": [("b", 2)]}, {"max_items": 1}, id="the other row was cut"),
        pytest.param({"a": [("b", 2)], "b": [("a", 2)], "c": [("a", 2)]}, {"max_neighbors": 1}, id="a tie cut by id"),
    ],
)
def test_a_pair_that_a_cut_took_from_one_side_is_no_fault(lists, params):
    assert check("cooc", lists, **params) == ()


def test_several_broken_promises_are_all_reported_with_ids_in_place_of_codes():
    found = {finding.gate: finding for finding in check("implicit", {"u2": [("b", 0)], "u1": [("c ", 1), ("a", 2)]})}
    assert set(found) == {"member_ids_trimmed", "keys_ascend", "values", "best_first"}
    assert found["values"].sample == ({"row": 0, "list": "u2", "member": "b", "value": 0},)
    assert found["best_first"].sample == ({"row": 2, "list": "u1", "member": "a", "value": 2},)
    assert found["keys_ascend"].sample[0]["key"] == "u1"


def test_counts_are_exact_and_samples_short_when_thousands_break_a_promise():
    count = 5_000
    lists = {None: [(f"i{n:05}", 0) for n in range(count)]}
    (finding,) = check("popularity", lists, max_items=count)
    assert (finding.gate, finding.count) == ("values", count)
    assert len(finding.sample) == 10


@examples(50)
@given(rows=event_rows, data=st.data())
def test_any_changed_count_of_a_pair_is_found(rows, data):
    """What the kernel wrote is consistent in itself: one count moved breaks order, support, or the other side."""
    kind = ROW_KINDS["cooc"]
    params = kind.params(min_support=1)
    built = kind.kernel(events_of(rows), params).rows
    if len(built.members):
        place = data.draw(st.integers(0, len(built.members) - 1))
        values = built.values.copy()
        values[place] += data.draw(st.integers(-3, 3).filter(bool))
        assert check_rows(replace(built, values=values), params)


@examples(50)
@given(rows=event_rows, item=st.sampled_from(ITEMS))
def test_a_neighbour_taken_away_is_found(rows, item):
    kind = ROW_KINDS["cooc"]
    params = kind.params(min_support=1)
    built = kind.kernel(events_of(rows), params).rows
    lists = {}
    for key, member, value in built.frame().rows():
        lists.setdefault(key, []).append((member, value))
    if len(lists.get(item, [])) > 1:
        lists[item].pop()
        assert check("cooc", lists, min_support=1)
