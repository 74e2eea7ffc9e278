"""The codec writes what Go's encoding/json would, names it by its content, and reads back only what it wrote."""

import hashlib
import json
from datetime import date
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.encoding.codec import cut_to_fit, encode
from recsys_assets.encoding.decoder import decode
from recsys_assets.encoding.rows import Rows
from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.identity import Target, Window
from recsys_assets_tests.kinds import oracles
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.thoroughness import THOROUGH, examples

# `make check` is thorough: every byte in every place
INSTEAD = b'"\\,x0. {}[]u\x01\xff'
TARGET = Target("shop", "home", "default")
WINDOW = Window.ending(date(2026, 1, 31), days=28)
BUILD = ',"build":{"built_at":"2026-02-01T00:00:00Z","version":"V","source_hash":"V"}}'
HOSTILE = 'a"\\/<>&\u2028\u2029\b\f\n\r\t\x00\x1f\x7f\x80é\ufeff\ud7ff\ue000\uffff\U0001f600\U0010ffff'
SHAPES = [pytest.param(kind.shape, id=kind.name) for kind in ROW_KINDS.values()]

ids = st.lists(st.text(st.sampled_from(HOSTILE) | st.characters(exclude_categories=["Cs"]), max_size=6), unique=True)


@st.composite
def bodies(draw, shape):
    """A body as JSON has it: lists of entries under keys, or one list without a key, of ids of every spelling."""
    members, keys = sorted(draw(ids)), sorted(draw(ids))
    values = st.integers(0, 2**33 * shape.scale - 1)
    entry = st.sampled_from(members) if members else st.nothing()
    if shape.value:
        entry = st.tuples(entry, values)
    entries = st.lists(entry, max_size=8) if members else st.just([])
    return [(key, draw(entries)) for key in (keys if shape.key else [None])]


def rows_of(shape, body):
    """Code a body as a kernel would."""
    entries = [entry if shape.value else (entry, 0) for _, found in body for entry in found]
    member_ids, key_ids = sorted({m for m, _ in entries}), sorted({key for key, _ in body} - {None})
    return Rows(
        shape=shape,
        keys=np.array([key_ids.index(key) for key, _ in body if key is not None], np.uint32),
        offsets=np.cumsum([0, *(len(found) for _, found in body)], dtype=np.int64),
        members=np.array([member_ids.index(m) for m, _ in entries], np.uint32),
        values=np.array([value for _, value in entries], np.int64),
        key_ids=pl.Series(key_ids, dtype=pl.String),
        member_ids=pl.Series(member_ids, dtype=pl.String),
    )


def json_of(shape, body):
    """Spell a body as objects and exact numbers."""

    def one(entry):
        return {shape.member: entry[0], shape.value: Decimal(entry[1]) / shape.scale} if shape.value else entry

    lists = [[one(entry) for entry in found] for _, found in body]
    return (
        [{shape.key: key, shape.entries: found} for (key, _), found in zip(body, lists, strict=True)]
        if shape.key
        else lists[0]
    )


def written(rows, *, kind="cooc", target=TARGET, max_bytes=10**9):
    return encode(rows, kind=kind, target=target, window=WINDOW, max_bytes=max_bytes)


@pytest.mark.parametrize("shape", SHAPES)
@examples(50)
@given(data=st.data())
def test_bytes_are_those_of_the_standard_library_escaped_as_go_does(shape, data):
    body = data.draw(bodies(shape))
    text = oracles.document("cooc", shape.body, json_of(shape, body), target=TARGET, window=WINDOW)
    hashed = text[:-1] + ',"build":{"built_at":"","version":""}}'
    version = hashlib.sha256(hashed.encode()).hexdigest()
    blob = written(rows_of(shape, body))
    assert blob.data.decode() == text[:-1] + BUILD.replace("V", version)
    assert (blob.ref.version, blob.ref.size) == (version, len(blob.data))
    assert blob.ref.digest == hashlib.sha256(blob.data).hexdigest()


@pytest.mark.parametrize("shape", SHAPES)
@examples(50)
@given(data=st.data())
def test_what_was_written_reads_back_and_is_written_the_same(shape, data):
    rows = rows_of(shape, data.draw(bodies(shape)))
    blob = written(rows)
    envelope, found = decode(blob.data, shape)
    assert found.frame().equals(rows.frame())
    assert written(found) == blob
    assert (envelope.kind, envelope.tenant, envelope.surface, envelope.segment) == ("cooc", "shop", "home", "default")
    assert (envelope.window_start, envelope.window_end) == ("2026-01-04T00:00:00Z", "2026-02-01T00:00:00Z")


@examples(50)
@given(tenant=st.sampled_from(["shop", "<&>", "é\U0001f600", "a'b"]), segment=st.none() | st.sampled_from(["x", '"q"']))
def test_the_envelope_carries_any_name_and_leaves_out_an_absent_segment(tenant, segment):
    rows = rows_of(ROW_KINDS["popularity"].shape, [(None, [("a", 1)])])
    blob = written(rows, kind="popularity", target=Target(tenant, "home", segment))
    message = json.loads(blob.data)
    assert (message["tenant"], message.get("segment", None)) == (tenant, segment)
    envelope, _ = decode(blob.data, rows.shape)
    assert (envelope.kind, envelope.tenant, envelope.segment) == ("popularity", tenant, segment)


@pytest.mark.parametrize(
    ("millionths", "text"),
    [
        pytest.param(1, "0.000001", id="the smallest step has no exponent"),
        pytest.param(10, "0.00001", id="ten steps"),
        pytest.param(100_000, "0.1", id="a tenth"),
        pytest.param(3_000_000, "3", id="a whole number has no point"),
        pytest.param(1_500_000, "1.5", id="no zeros at the end"),
        pytest.param(2**33 * 10**6 - 1, "8589934591.999999", id="the largest exact score"),
        pytest.param(123_456_789_000_000, "123456789", id="zeros inside the whole part stay"),
    ],
)
def test_a_score_is_the_shortest_text_of_its_double(millionths, text):
    shape = ROW_KINDS["implicit"].shape
    data = written(rows_of(shape, [("u", [("i", millionths)])])).data.decode()
    assert f'"score":{text}}}' in data
    assert repr(float(text)).removesuffix(".0") in {text, repr(float(text))}
    assert float(text) == millionths / 10**6


def test_a_blob_over_its_limit_is_refused_by_number_and_setting_and_one_at_its_limit_is_not():
    rows = rows_of(ROW_KINDS["cooc"].shape, [("a", [("b", 12)]), ("b", [("a", 12)])])
    size = written(rows).ref.size
    assert written(rows, max_bytes=size).ref.size == size
    with pytest.raises(LimitExceededError, match=rf"{size:,} bytes, artifacts.cooc.max_bytes allows {size - 1:,}"):
        written(rows, max_bytes=size - 1)


def sample_blob(name):
    shape = ROW_KINDS[name].shape
    entries = [('q"<\u2028', 1_500_000), ("b", 2)] if shape.value else ["x", 'q"<']
    body = [("k1", entries), ("k2", entries[:1])] if shape.key else [(None, entries)]
    return shape, written(rows_of(shape, body), kind=name).data


@pytest.mark.parametrize("name", ROW_KINDS)
def test_any_changed_byte_before_the_version_is_refused_or_gives_other_rows(name):
    """A decoder that lets two spellings of the same rows through would let a version name two contents."""
    shape, data = sample_blob(name)
    message = decode(data, shape)
    for at in range(data.rindex(b',"build":')):
        for byte in INSTEAD if THOROUGH else INSTEAD[at % 3 :: 3]:
            changed = data[:at] + bytes([byte]) + data[at + 1 :]
            if changed != data:
                try:
                    envelope, rows = decode(changed, shape)
                except CorruptObjectError:
                    continue
                assert (envelope, rows.frame().rows()) != (message[0], message[1].frame().rows()), changed


@pytest.mark.parametrize("name", ROW_KINDS)
def test_a_blob_cut_short_or_with_bytes_behind_is_refused(name):
    shape, data = sample_blob(name)
    for changed in (
        *(data[:end] for end in range(len(data))),
        data + b" ",
        data + b"\n",
        data * 2,
        b"\xef\xbb\xbf" + data,
    ):
        with pytest.raises(CorruptObjectError):
            decode(changed, shape)


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        pytest.param(b'"b"', b'"\\u0062"', id="escaped without need"),
        pytest.param(b"\\u003c", b"<", id="not escaped as Go does"),
        pytest.param(b"\\u003c", b"\\u003C", id="upper-case hex"),
        pytest.param(b"\\u2028", "\u2028".encode(), id="a raw line separator"),
        pytest.param(b'"b"', b'"\x01"', id="a raw control character"),
        pytest.param(b'"b"', b'"\\x"', id="an escape that JSON does not know"),
        pytest.param(b'"b"', b'"\\/"', id="an escaped slash"),
        pytest.param(b'"b"', b'"\\ud800"', id="a surrogate"),
        pytest.param(b'"b"', b'"\xff"', id="bytes that are not UTF-8"),
        pytest.param(b'"b"', b'"\xed\xa0\x80"', id="a surrogate in UTF-8"),
        pytest.param(b'"b"', b'"\xc0\x80"', id="an overlong zero"),
        pytest.param(b'"count":2', b'"count":02', id="a leading zero"),
        pytest.param(b'"count":2', b'"count":2.0', id="a fraction where counts stand"),
        pytest.param(b'"count":2', b'"count":-2', id="a negative number"),
        pytest.param(b'"count":2', b'"count":2e1', id="an exponent"),
        pytest.param(b'"count":2', b'"count":9007199254740992', id="a number past 2**53"),
        pytest.param(b'"count":2', b'"count":99999999999999999999', id="a number past 2**64"),
        pytest.param(b'"count":2', b'"count":', id="no number"),
        pytest.param(b'"count":2', b'"count":null', id="null"),
        pytest.param(b'"count":2}', b'"count":2,"x":1}', id="a key more"),
        pytest.param(b'"item_id":"b",', b"", id="a key less"),
        pytest.param(b"},{", b"} ,{", id="white space"),
        pytest.param(b"},{", b"}{", id="no comma"),
        pytest.param(b"},{", b"},,{", id="a comma too many"),
        pytest.param(b"]}]", b"],}]", id="a comma at the end"),
        pytest.param(b'"neighbors"', b'"items"', id="the body of another kind"),
        pytest.param(b'"v":1', b'"v":2', id="another format version"),
    ],
)
def test_json_that_the_encoder_does_not_write_is_refused(found, instead):
    shape, data = sample_blob("cooc")
    assert found in data
    with pytest.raises(CorruptObjectError):
        decode(data.replace(found, instead, 1), shape)


def test_a_refusal_names_the_first_byte_out_of_place():
    shape, data = sample_blob("cooc")
    at = data.index(b'"count":2')
    with pytest.raises(CorruptObjectError, match=rf"byte {at + 8} "):
        decode(data.replace(b'"count":2', b'"count":-', 1), shape)


def test_a_single_list_is_cut_to_as_many_members_as_fit():
    shape = ROW_KINDS["popularity"].shape
    pieces = [rows_of(shape, [(None, [(item, 10**n) for n, item in enumerate(items)])]) for items in ("abc", "d\u2028")]
    whole = rows_of(shape, [(None, [(item, 10**n) for n, item in enumerate("abc")] + [("d", 1), ("\u2028", 10)])])
    sizes = [written(whole.head(n), kind="popularity").ref.size for n in range(len(whole) + 1)]
    for max_bytes in range(sizes[0], sizes[-1] + 2):
        cut = cut_to_fit(pieces, shape, kind="popularity", target=TARGET, window=WINDOW, max_bytes=max_bytes)
        assert sum(map(len, cut)) == sum(size <= max_bytes for size in sizes[1:])
