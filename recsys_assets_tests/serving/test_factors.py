"""Factors are asked by id, best first, and know nobody that their file does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving.recommending import Factors, Ids

ids = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4), unique=True, max_size=8)


def column(name, texts):
    data = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in data], dtype=np.int64)
    return {f"{name}.text": np.frombuffer(b"".join(data), np.uint8), f"{name}.ends": ends}


def factors():
    vectors = {"user_factors": [[1, 0], [0, 1]], "item_factors": [[0.5, 0], [0.5, 0.5], [0, 3], [0.5, 0]]}
    arrays = {name: np.array(rows, np.float32) for name, rows in vectors.items()}
    return Factors.of({**column("user_id", ["u1", "u2"]), **column("item_id", ["a", "b", "c", "d"]), **arrays})


def names(found):
    return [item.item_id for item in found]


@given(known=ids, other=st.text(max_size=4))
def test_every_id_is_found_in_its_row_and_no_other_is(known, other):
    known.sort()
    found = Ids.of(column("item_id", known), "item_id")
    assert [found[row] for row in range(len(found))] == known
    assert [found.find(one) for one in known] == list(range(len(known)))
    assert (found.find(other) is not None) == (other in known)


def test_a_user_gets_the_items_of_the_largest_products_ties_by_id():
    assert [(item.item_id, item.score) for item in factors().for_user("u2")] == [
        ("c", 3.0), ("b", 0.5), ("a", 0.0), ("d", 0.0),
    ]  # fmt: skip
    assert names(factors().for_user("u1", 2)) == ["a", "b"]


def test_blocked_items_are_named_to_nobody():
    found = replace(factors(), blocked=frozenset({"a", "unknown"}))
    assert names(found.for_user("u1", 2)) == ["b", "d"]
    assert found.like_item("a") is None
    assert "a" not in names(found.like_item("d"))


def test_what_a_user_has_is_left_out_and_the_list_is_full_all_the_same():
    assert names(factors().for_user("u1", 2, without=["a", "unknown"])) == ["b", "d"]
    assert names(factors().for_user("u1", 9, without=["a", "b", "c", "d"])) == []


def test_an_item_is_like_those_of_its_direction_however_long_they_are():
    assert names(factors().like_item("c", 2)) == ["b", "a"]
    assert factors().like_item("b")[0].score == pytest.approx(np.sqrt(0.5))


def test_who_is_not_in_the_file_is_none_and_not_an_empty_answer():
    assert factors().for_user("u3") is None
    assert factors().like_item("") is None
    assert factors().for_user("u\udc80") is None


def test_arrays_of_something_else_are_refused_with_what_there_is():
    with pytest.raises(CorruptObjectError, match=r"no user_id.text and user_id.ends among \['v'\]"):
        Factors.of({"v": np.zeros(3)})
