"""Decisions of the reference reader, one by one, and the reason for each refusal."""

import unicodedata

import pytest
from msgspec.structs import replace

from recsys_assets.ingest.json_object import MAX_DEPTH, MAX_LINE_BYTES
from recsys_assets.ingest.line_reader import MAX_RANK, read_line
from recsys_assets.ingest.quarantine import LineFault, Reason
from recsys_assets.ingest.white_space import WHITE_SPACE, trim
from recsys_assets_tests.ingest.lines import EVENT, LEFT_OUT, line

PADDING = "x" * (MAX_LINE_BYTES - len(line(x="")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(line(), EVENT, id="all fields"),
        pytest.param(line() + b"\r", EVENT, id="CR before the newline"),
        pytest.param(b" \t" + line() + b" ", EVENT, id="white space around"),
        pytest.param(line().replace(b", ", b" ,\t").replace(b": ", b" : "), EVENT, id="white space inside"),
        pytest.param(line(user_id=LEFT_OUT), replace(EVENT, user_id=None), id="anonymous"),
        pytest.param(line(user_id=None), replace(EVENT, user_id=None), id="null is absent"),
        pytest.param(line(user_id=" \u3000"), replace(EVENT, user_id=None), id="blank is absent"),
        pytest.param(line(request_id="", event=""), replace(EVENT, request_id=None, event=None), id="empty is absent"),
        pytest.param(line(rank=LEFT_OUT), replace(EVENT, rank=0), id="no rank"),
        pytest.param(line(rank=None), replace(EVENT, rank=0), id="null rank"),
        pytest.param(line().replace(b'"rank": 3', b'"rank": -0'), replace(EVENT, rank=0), id="minus zero"),
        pytest.param(line(rank=MAX_RANK), replace(EVENT, rank=MAX_RANK), id="the largest rank"),
        pytest.param(line(item_id="\u2003i1\n"), EVENT, id="trimmed"),
        pytest.param(line(item_id="\x1ci1\x1f"), replace(EVENT, item_id="\x1ci1\x1f"), id="not white space"),
        pytest.param(line(item_id="\u200bi1"), replace(EVENT, item_id="\u200bi1"), id="zero width is no white space"),
        pytest.param(line(x="a\x00b"), replace(EVENT, unknown=("x",)), id="NUL in an unknown field"),
        pytest.param(line(item_id="e\u0301"), replace(EVENT, item_id="e\u0301"), id="not normalised"),
        pytest.param(line().replace(b"i1", rb"\u00e9\ud83d\ude00\/"), replace(EVENT, item_id="é😀/"), id="escapes"),
        pytest.param(line().replace(b'"v"', rb'"\u0076"'), EVENT, id="escaped name"),
        pytest.param(line(extra={"a": [1, None]}), replace(EVENT, unknown=("extra",)), id="unknown field"),
        pytest.param(line(V=2, Item_id=5), replace(EVENT, unknown=("V", "Item_id")), id="names are compared exactly"),
        pytest.param(b'{"x":1,"x":2,' + line()[1:], replace(EVENT, unknown=("x", "x")), id="unknown field twice"),
        pytest.param(line(x=1e400).replace(b"Infinity", b"1e400"), replace(EVENT, unknown=("x",)), id="huge float"),
        pytest.param(line(x=5).replace(b" 5", b" " + b"9" * 5000), replace(EVENT, unknown=("x",)), id="huge integer"),
        pytest.param(line(x=PADDING), replace(EVENT, unknown=("x",)), id="4 MiB"),
    ],
)
def test_a_good_line_is_an_event(text, expected):
    assert read_line(text) == expected


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        pytest.param(line(x=PADDING) + b" ", Reason.TOO_LONG, "4194305 bytes: at most 4194304", id="over 4 MiB"),
        pytest.param(b"\xef\xbb\xbf" + line(), Reason.BYTE_ORDER_MARK, "byte order mark", id="BOM"),
        pytest.param(b"", Reason.BLANK_LINE, "white space", id="empty"),
        pytest.param(b" \t\r", Reason.BLANK_LINE, "white space", id="blank"),
        pytest.param(line().replace(b"i1", b"\xff"), Reason.BAD_UTF8, "is not valid UTF-8", id="bad byte"),
        pytest.param(line().replace(b"i1", b"\xed\xa0\x80"), Reason.BAD_UTF8, "is not valid UTF-8", id="raw surrogate"),
        pytest.param(line().replace(b"i1", rb"\ud800"), Reason.BAD_UTF8, "surrogate", id="lone surrogate"),
        pytest.param(line(x="Q").replace(b"Q", rb"\udc00"), Reason.BAD_UTF8, "surrogate", id="unknown lone surrogate"),
        pytest.param(line()[:-1], Reason.NOT_JSON, "delimiter", id="truncated"),
        pytest.param(line() + b"x", Reason.NOT_JSON, "Extra data", id="text behind"),
        pytest.param(line() + b"," + line(), Reason.NOT_JSON, "Extra data", id="two objects"),
        pytest.param(line(x=float("nan")), Reason.NOT_JSON, "NaN", id="NaN"),
        pytest.param(line(x=float("inf")), Reason.NOT_JSON, "Infinity", id="Infinity"),
        pytest.param(line().replace(b"i1", b"\x01"), Reason.NOT_JSON, "control", id="raw control"),
        pytest.param(line().replace(b"i1", rb"\x"), Reason.NOT_JSON, "escape", id="no escape"),
        pytest.param(line().replace(b'"', b"'"), Reason.NOT_JSON, "property name", id="single quotes"),
        pytest.param(line()[:-1] + b",}", Reason.NOT_JSON, "property name", id="trailing comma"),
        pytest.param(line(rank=3).replace(b"3", b"03"), Reason.NOT_JSON, "delimiter", id="leading zero"),
        pytest.param(b"[" * 100_000, Reason.NOT_JSON, "nested deeper than 64", id="deep"),
        pytest.param(b"[1, 2]", Reason.NOT_OBJECT, "found [1, 2]", id="array"),
        pytest.param(b"null", Reason.NOT_OBJECT, "found null", id="null"),
        pytest.param(b'"' + b"x" * 99 + b'"', Reason.NOT_OBJECT, "xxx...", id="string"),
        pytest.param(b'{"v": 1,' + line()[1:], Reason.DUPLICATE_FIELD, "v appears more", id="known field twice"),
        pytest.param(b'{"rank": null,' + line()[1:], Reason.DUPLICATE_FIELD, "rank", id="twice, once null"),
        pytest.param(b"{}", Reason.MISSING_FIELD, "v is missing", id="empty object"),
        pytest.param(line(v=LEFT_OUT), Reason.MISSING_FIELD, "v is missing", id="no v"),
        pytest.param(line(ts=None), Reason.MISSING_FIELD, "ts is missing", id="null ts"),
        pytest.param(line(item_id=LEFT_OUT), Reason.MISSING_FIELD, "item_id is missing", id="no item"),
        pytest.param(line(session_id=None), Reason.MISSING_FIELD, "session_id is missing", id="null session"),
        pytest.param(line(v="1"), Reason.WRONG_TYPE, 'found "1"', id="v as text"),
        pytest.param(line(v=1.0), Reason.WRONG_TYPE, "found 1.0", id="v as float"),
        pytest.param(line(v=True), Reason.WRONG_TYPE, "found true", id="v as truth"),
        pytest.param(line(v=2), Reason.UNKNOWN_VERSION, "expected 1, found 2", id="v 2"),
        pytest.param(line(ts=5), Reason.WRONG_TYPE, "ts: expected a string, found 5", id="ts as number"),
        pytest.param(line(item_id=5), Reason.WRONG_TYPE, "item_id: expected a string, found 5", id="item as number"),
        pytest.param(line(user_id=["u"]), Reason.WRONG_TYPE, "user_id", id="user as list"),
        pytest.param(line(event={"a": 1}), Reason.WRONG_TYPE, "event", id="event as object"),
        pytest.param(line(rank="3"), Reason.WRONG_TYPE, "rank: expected an integer", id="rank as text"),
        pytest.param(line(rank=3.0), Reason.WRONG_TYPE, "found 3.0", id="rank as float"),
        pytest.param(line(rank=False), Reason.WRONG_TYPE, "found false", id="rank as truth"),
        pytest.param(line(rank=-1), Reason.OUT_OF_RANGE, "found -1", id="negative rank"),
        pytest.param(line(rank=MAX_RANK + 1), Reason.OUT_OF_RANGE, "rank", id="rank beyond 64 bits"),
        pytest.param(line(item_id=" "), Reason.EMPTY_FIELD, "item_id is blank", id="blank item"),
        pytest.param(line(tenant=""), Reason.EMPTY_FIELD, "tenant is blank", id="empty tenant"),
        pytest.param(line(ts="yesterday"), Reason.BAD_TIME, "RFC 3339", id="no time"),
        pytest.param(line(ts="2026-01-01T08:00:00"), Reason.NO_ZONE, "no zone", id="no zone"),
        pytest.param(line(ts=" 2026-01-01T08:00:00Z"), Reason.BAD_TIME, "RFC 3339", id="ts is not trimmed"),
    ],
)
def test_a_bad_line_has_its_reason(text, reason, detail):
    fault = read_line(text)
    assert isinstance(fault, LineFault)
    assert (fault.reason, detail in fault.detail) == (reason, True), fault


def test_a_fault_carries_the_names_that_could_be_read():
    assert read_line(line(item_id=5, tenant=" shop ")) == LineFault(
        Reason.WRONG_TYPE, "item_id: expected a string, found 5", "shop", "home"
    )
    fault = read_line(line(surface=5))
    assert isinstance(fault, LineFault)
    assert (fault.tenant, fault.surface) == ("shop", None)


def test_nesting_is_allowed_to_the_limit_however_deep_the_stack_is():
    inside = MAX_DEPTH - 1  # the line itself is one
    assert not isinstance(read_line(line(x="Q").replace(b'"Q"', b"[" * inside + b"]" * inside)), LineFault)
    assert isinstance(read_line(line(x="Q").replace(b'"Q"', b"[" * (inside + 1) + b"]" * (inside + 1))), LineFault)
    assert not isinstance(read_line(line(x="[{" * 100)), LineFault), "brackets in strings do not nest"


def test_exactly_the_white_space_of_unicode_is_trimmed():
    for code in range(0x110000):
        character = chr(code)
        # White_Space is the separators Z*, the controls from tab to CR, and next line.
        is_white = unicodedata.category(character) in {"Zs", "Zl", "Zp"} or character in "\t\n\v\f\r\x85"
        assert (character in WHITE_SPACE) == is_white, hex(code)
    assert trim("\u2028 \u00a0a b\u3000") == "a b"
