import json
import sys
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving import row_index
from recsys_assets.serving.row_index import GROUP, HashedRows, SortedRows, index_rows
from recsys_assets.serving.served import CONTENT_SIM, COOC, IMPLICIT, POPULARITY

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
    data = BEFORE + b'{"item_id":"0","count":1},' + body.encode() + b"]}"
    with pytest.raises(CorruptObjectError, match=r"blob: the row at byte \d+ is not a row of 'items'"):
        index_rows(POPULARITY, data, start=len(BEFORE), stop=len(data) - 2, name="blob")


def users(ids):
    return [{"user_id": one, "items": [{"item_id": f"item of {one}", "score": 1.5}]} for one in ids]


@pytest.mark.parametrize("kind", FORMS)
@given(st.sets(IDS, min_size=1, max_size=3 * GROUP), st.booleans())
def test_rows_in_the_order_of_their_ids_are_found_without_a_table(kind, ids, ascii_only):
    form, row_of = FORMS[kind]
    rows = [row_of(one, [one]) for one in sorted(ids)]
    index = indexed(form, rows, ascii_only=ascii_only)
    assert isinstance(index, SortedRows)
    assert [as_dict(index.find(one)) for one in sorted(ids)] == rows
    assert not [other for other in (*NASTY, "no such id", "\ud800") if other not in ids and index.find(other)]


@pytest.mark.parametrize("rows", [1, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 700])
def test_each_row_of_each_group_is_found_and_none_beside_it(rows):
    index = indexed(IMPLICIT, users(f"u{n:06d}" for n in range(rows)))
    assert isinstance(index, SortedRows)
    assert [index.find(f"u{n:06d}").user_id for n in range(rows)] == [f"u{n:06d}" for n in range(rows)]
    assert not [n for n in range(-1, rows) if index.find(f"u{n:06d}x") or index.find(f"u{n:06d}"[:-1])]
    assert [index.id(n) for n in range(rows)] == [row.user_id for row in index]


@pytest.mark.parametrize(
    ("ids", "width"),
    [
        pytest.param(["b", "a", "c"], 1000, id="long rows that changed places"),
        pytest.param([*(f"u{n:04d}" for n in range(500)), "u0000"], 1, id="a row that comes again at the end"),
        pytest.param([f"u{n // 2:04d}" for n in range(500)], 1, id="each id twice"),
        pytest.param(
            [f"u{n:04d}" for n in (*range(300), 301, 300, *range(302, 500))], 1, id="two rows that changed places"
        ),
    ],
)
def test_rows_in_another_order_are_hashed_and_the_first_of_an_id_is_found(ids, width):
    rows = [{**row, "items": [{"item_id": str(n), "score": 1.0}] * width} for n, row in enumerate(users(ids))]
    index = indexed(IMPLICIT, rows)
    assert isinstance(index, HashedRows)
    assert [index.find(one).items[0].item_id for one in ids] == [str(ids.index(one)) for one in ids]


def test_ids_of_one_group_that_share_a_mark_are_all_found():
    ids = [one for one in (f"u{n:06d}" for n in range(20_000)) if crc32(one.encode()) & 0xFF == 7][: GROUP - 1]
    index = indexed(IMPLICIT, users(ids))
    assert set(index.marks) == {7}
    assert [index.find(one).user_id for one in ids] == ids


def test_an_id_that_goes_on_like_a_row_is_not_taken_for_it():
    index = indexed(IMPLICIT, users(["a", "ab", "b"]))
    forged = 'a","items":[{"item_id'
    assert index.data.count(f'"{forged}"'.encode()) == 1
    assert index.find(forged) is None


def test_a_first_row_that_begins_with_white_space_is_found_as_the_others_are():
    body = b'{ "user_id":"a","items":[]},{"user_id":"b","items":[]}'
    index = index_rows(IMPLICIT, b"[" + body + b"]", start=1, stop=1 + len(body), name="blob")
    assert [index.find(one).user_id for one in "ab"] == ["a", "b"]


@pytest.mark.parametrize("rows", [1, 2, 3, 100, 5000])
@pytest.mark.parametrize(
    ("name", "beside"), [pytest.param("{:08d}", 0.12, id="sorted"), pytest.param("{}", 1.5, id="not")]
)
def test_an_index_of_short_rows_takes_a_share_of_the_blob(rows, name, beside):
    form, row_of = FORMS["implicit"]
    index = indexed(form, [row_of(name.format(n), ["i"]) for n in range(rows)])
    parts = [getattr(index, part, "") for part in ("starts", "slots", "marks", "heads")]
    taken = sum(map(sys.getsizeof, (*parts, *getattr(index, "heads", ()))))
    assert taken <= beside * len(index.data) + 500
    assert index.held_bytes - len(index.data) <= taken


def test_ids_of_one_hash_are_all_found(monkeypatch):
    """Whatever the hash, only the id decides: here every id has the same."""
    monkeypatch.setattr(row_index, "hash", lambda _: 12345, raising=False)
    form, row_of = FORMS["content_sim"]
    index = indexed(form, [row_of(str(n), [str(n)]) for n in range(50)])
    assert [index.find(str(n)).tags for n in range(50)] == [(str(n),) for n in range(50)]
    assert index.find("50") is None
