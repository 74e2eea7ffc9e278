import json
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving import row_index
from recsys_assets.serving.lookups import CONTENT_SIM, COOC, IMPLICIT, POPULARITY
from recsys_assets.serving.row_index import index_rows

NASTY = ['"', "\\", ']},{"item_id":"', '},{"user_id":"', "\n", "\u2028", "<&>", "é", "e\u0301", "😀", "", " ", "a\x00b"]
IDS = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
BEFORE = b'{"items":['
FORMS = {
    "popularity": (POPULARITY, lambda row_id, others: {"item_id": row_id, "count": len(others)}),
    "cooc": (COOC, lambda row_id, others: {"item_id": row_id, "items": [{"item_id": o, "count": 1} for o in others]}),
    "implicit": (
        IMPLICIT,
        lambda row_id, others: {"user_id": row_id, "items": [{"item_id": o, "score": 1.5} for o in others]},
    ),
    "content_sim": (CONTENT_SIM, lambda row_id, others: {"item_id": row_id, "tags": others}),
}


def indexed(form, rows, *, ascii_only=False):
    body = json.dumps(rows, ensure_ascii=ascii_only, separators=(",", ":"))[1:-1].encode()
    return index_rows(form, BEFORE + body + b"]}", start=len(BEFORE), stop=len(BEFORE) + len(body), name="blob")


@pytest.mark.parametrize("kind", FORMS)
@given(st.lists(st.tuples(IDS, st.lists(IDS, max_size=4)), max_size=30), st.booleans())
def test_every_id_is_found_and_no_other(kind, pairs, ascii_only):
    form, row_of = FORMS[kind]
    rows = [row_of(*pair) for pair in pairs]
    index = indexed(form, rows, ascii_only=ascii_only)
    expected = {}
    for (row_id, _), row in zip(pairs, rows, strict=True):
        expected.setdefault(row_id, row)
    assert [as_dict(row) for row in index] == rows
    assert {row_id: as_dict(index.find(row_id)) for row_id in expected} == expected
    assert not [other for other in (*NASTY, "no such id") if other not in expected and index.find(other)]


def as_dict(row):
    return msgspec.json.decode(msgspec.json.encode(row))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"item_id":"a","count":1.5}', id="a count that is no integer"),
        pytest.param('{"item_id":"a","count":2.0}', id="a count written as a float"),
        pytest.param('{"item_id":"a","count":-1}', id="a negative count"),
        pytest.param('{"item_id":"a","count":NaN}', id="no number"),
        pytest.param('{"item_id":"a","count":"1"}', id="a count in quotes"),
        pytest.param('{"item_id":5,"count":1}', id="an id that is no string"),
        pytest.param('{"item_id":"a"}', id="no count"),
        pytest.param('{"item_id":"a","count":1,"more":2}', id="an unknown field"),
        pytest.param('{"item_id":"a","count":1},', id="a comma too many"),
        pytest.param('{"item_id":"a","count":1} ,{"item_id":"b","count":1}', id="white space between rows"),
        pytest.param('{"item_id":"\\ud800","count":1}', id="half a surrogate pair"),
        pytest.param('{"item_id":"a","count":' + "[" * 5000 + "]" * 5000 + "}", id="deep"),
        pytest.param("null", id="no object"),
    ],
)
def test_a_row_of_another_form_is_refused_with_its_place(body):
    data = BEFORE + b'{"item_id":"ok","count":1},' + body.encode() + b"]}"
    with pytest.raises(CorruptObjectError, match=r"blob: the row at byte \d+ is no row of 'items'"):
        index_rows(POPULARITY, data, start=len(BEFORE), stop=len(data) - 2, name="blob")


@pytest.mark.parametrize("rows", [1, 2, 3, 100, 5000])
def test_an_index_of_short_rows_takes_no_more_than_the_blob_and_a_half(rows):
    form, row_of = FORMS["implicit"]
    index = indexed(form, [row_of(str(n), ["i"]) for n in range(rows)])
    beside = sum(sys.getsizeof(part) for part in (index.starts, index.slots, index.marks))
    assert beside <= 1.5 * len(index.data) + 500


def test_ids_of_one_hash_are_all_found(monkeypatch):
    """Whatever the hash, only the id decides: here every id has the same."""
    monkeypatch.setattr(row_index, "hash", lambda _: 12345, raising=False)
    form, row_of = FORMS["content_sim"]
    index = indexed(form, [row_of(str(n), [str(n)]) for n in range(50)])
    assert [index.find(str(n)).tags for n in range(50)] == [(str(n),) for n in range(50)]
    assert index.find("50") is None
