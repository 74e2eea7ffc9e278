"""The compiled scan and the reference reader: whatever the scan accepts means the same to both."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.line_reader import PLAIN, RawEvent, Reading, read_line
from recsys_assets.ingest.quarantine import LineFault, Reason
from recsys_assets.ingest.white_space import WHITE_SPACE
from recsys_assets_tests.ingest.lines import GOOD, LEFT_OUT, line, scan, unknown_counts
from recsys_assets_tests.ingest.test_timestamps import INSTANTS, NO_INSTANTS
from recsys_assets_tests.thoroughness import examples

SESSIONLESS = Reading(needs_session=False)
SPACES = st.text(" \t\r", max_size=2)
IDS = st.text(st.one_of(st.sampled_from(f'{WHITE_SPACE}\x00\x1c"\\/é€😀'), st.characters(codec="utf-8")), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | IDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(IDS, inner, max_size=3),
    max_leaves=6,
)
RANDOM_INSTANTS = st.builds(
    "{}-{}-{}{}{}:{}:{}{}{}".format,
    st.sampled_from(["2026", "1969", "1970", "2100", "2000", "2024", "2198", "2199", "9999", "0000"]),
    *(st.integers(0, 32).map("{:02d}".format) for _ in range(2)),
    st.sampled_from("TTTTt "),
    *(st.integers(0, 61).map("{:02d}".format) for _ in range(3)),
    st.sampled_from(["", ".1", ".123456789", ".1234567890", "."]),
    st.sampled_from(["Z", "z", "+01:00", "-23:59", "+24:00", "-00:00", "", "ZZ", "+0100"]),
)
OFTEN_GOOD = st.sampled_from(
    [
        "2026-01-01T08:00:00Z",
        "2024-02-29t23:59:59.000000001z",
        "2198-12-31T00:00:00.5-23:59",
        "1971-01-01T00:00:00+05:30",
    ]
)
VALUES = {
    "v": st.sampled_from([*[1] * 40, 2, 1.0, "1", True, None]),
    "ts": st.sampled_from(range(6)).flatmap(lambda n: RANDOM_INSTANTS if n == 3 else OFTEN_GOOD),
    "rank": st.integers(0, 999) | st.integers(0, 2**63) | st.sampled_from([None, 0, 10**17, 10**18, 2**63 - 1, 3.0]),
    **{name: IDS | st.none() for name in ("user_id", "request_id", "event")},
    **{
        name: st.just(GOOD[name]) | IDS.map(lambda text: text + "x") | IDS
        for name in ("tenant", "surface", "session_id", "item_id")
    },
}


@st.composite
def lines(draw, may_lack=("user_id", "request_id", "rank", "event")):
    """Draw lines as writers make them: any order, any spaces, any escaping, unknown fields, sometimes names twice."""
    rarely = ["ts", "tenant", "v"] if draw(st.sampled_from(range(8))) == 5 else []
    left_out = draw(st.lists(st.sampled_from([*may_lack, *rarely]), max_size=2))
    more = draw(st.lists(st.sampled_from(["x", "Rank", "é", *rarely]), max_size=2))
    names = draw(st.permutations([*(name for name in GOOD if name not in left_out), *more]))
    ascii_only = draw(st.booleans())
    pairs = []
    for name in names:
        value = json.dumps(draw(VALUES.get(name, JSON)), ensure_ascii=ascii_only)
        pairs.append(f"{json.dumps(name)}{draw(SPACES)}:{draw(SPACES)}{value}{draw(SPACES)}")
    return f"{draw(SPACES)}{{{f',{draw(SPACES)}'.join(pairs)}}}{draw(SPACES)}".encode()


@st.composite
def damaged_lines(draw):
    """Draw lines with some bytes replaced, put in, or taken out."""
    text = bytearray(draw(lines()))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(text) - 1, 0)))
        bytes_ = st.sampled_from(
            [b'"', b"\\", b"{", b"}", b",", b":", b"\x00", b"\x80", b"\xff", b"\xed\xa0\x80", b"1", b""]
        )
        text[start : start + draw(st.integers(0, 2))] = draw(bytes_ | st.binary(max_size=2))
    return bytes(text).replace(b"\n", b"")


HOSTILE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"{", id="open"),
    pytest.param(b"{}", id="no fields"),
    pytest.param(b"{,}", id="comma only"),
    pytest.param(b'{"', id="name breaks off"),
    pytest.param(b'{"v', id="name breaks off later"),
    pytest.param(b'{"v":', id="value breaks off"),
    pytest.param(line()[:-1], id="breaks off before the end"),
    pytest.param(line() + b"}", id="one brace too many"),
    pytest.param(line() + b'{"v":1}', id="two objects"),
    pytest.param(b"\xef\xbb\xbf" + line(), id="BOM"),
    pytest.param(line().replace(b"i1", b"\xc0\xaf"), id="overlong"),
    pytest.param(line().replace(b"i1", b"\xe0\x80\xaf"), id="overlong in three bytes"),
    pytest.param(line().replace(b"i1", b"\xf4\x90\x80\x80"), id="beyond Unicode"),
    pytest.param(line().replace(b"i1", b"\xf0\x9f\x98"), id="character cut in two"),
    pytest.param(line().replace(b"i1", b"\xed\xa0\x80"), id="surrogate as UTF-8"),
    pytest.param(line().replace(b"i1", rb"\ude00"), id="second half of a pair alone"),
    pytest.param(line().replace(b"i1", rb"\ude00x"), id="second half of a pair and a letter"),
    pytest.param(line().replace(b"i1", rb"\ud83d\u0041"), id="half of a pair and a letter"),
    pytest.param(line().replace(b"i1", rb"\ude00\ud83d"), id="pair the wrong way round"),
    pytest.param(line().replace(b"i1", rb"\u12g4"), id="no hexadecimal"),
    pytest.param(line().replace(b"i1", b"\\"), id="backslash before the quote"),
    pytest.param(line().replace(b"i1", b"\x7f"), id="delete is no control of JSON"),
    pytest.param(line().replace(b'"rank": 3', b'"rank": 3.'), id="no digit behind the point"),
    pytest.param(line().replace(b'"rank": 3', b'"rank": 3e'), id="no exponent"),
    pytest.param(line().replace(b'"rank": 3', b'"rank": +3'), id="plus"),
    pytest.param(line().replace(b'"rank": 3', b'"rank": 00'), id="two zeros"),
    pytest.param(line(rank=2**64 + 1), id="rank that 64 bits would wrap"),
    pytest.param(line(rank=10**18), id="rank of 19 digits"),
    pytest.param(line().replace(b'"v": 1', b'"v": 10'), id="v 10"),
    pytest.param(line().replace(b'"v": 1', b'"v": 1e0'), id="v in another form"),
    pytest.param(line(x="Q").replace(b'"Q"', b"-"), id="minus alone"),
    pytest.param(line(x="Q").replace(b'"Q"', b"-01"), id="minus and leading zero"),
    pytest.param(line(x="Q").replace(b'"Q"', b"truex"), id="text behind true"),
    pytest.param(line(x="Q").replace(b'"Q"', b"nul"), id="part of null"),
    pytest.param(line(x="Q").replace(b'"Q"', b"[1,]"), id="trailing comma in an array"),
    pytest.param(line(x="Q").replace(b'"Q"', b"[1}"), id="brackets crossed"),
    pytest.param(line(x="Q").replace(b'"Q"', b'{"a":1,}'), id="trailing comma in an object"),
    pytest.param(line(x="Q").replace(b'"Q"', b'{"a"}'), id="name without a value"),
    pytest.param(line(x="Q").replace(b'"Q"', b"[]]"), id="one bracket too many"),
    pytest.param(line(x="Q").replace(b'"Q"', b"[" * 63 + b"]" * 63), id="as deep as allowed"),
    pytest.param(line(x="Q").replace(b'"Q"', b"[" * 64 + b"]" * 64), id="too deep"),
    pytest.param(line(x="y" * (MAX_LINE_BYTES - len(line(x="")))), id="4 MiB"),
    pytest.param(line(x="y" * (MAX_LINE_BYTES - len(line(x="")) + 1)), id="over 4 MiB"),
    pytest.param(
        b"{" + b",".join(b'"x%d":1' % n for n in range(100)) + b"," + line()[1:], id="a hundred unknown fields"
    ),
]


def agree(texts, reading=PLAIN):
    """Assert that each accepted line is the reference's event, and return which lines were accepted."""
    found = scan(texts, needs_session=reading.needs_session)
    for text, event in zip(texts, found, strict=True):
        expected = read_line(text, reading)
        if event is not None:
            assert not isinstance(expected, LineFault), (text, expected)
            assert event == expected or event == _without_names(expected), text
    return [event is not None for event in found]


def _without_names(event):
    return type(event)(**{name: getattr(event, name) for name in type(event).__slots__ if name != "unknown"})


@given(st.lists(lines() | damaged_lines(), min_size=1, max_size=8))
@examples(150)
@example([line(), line(user_id=LEFT_OUT), line(), b"{", line()])
def test_what_the_scan_accepts_means_the_same_to_the_reference(texts):
    agree(texts)


@pytest.mark.slow
@given(st.lists(lines() | damaged_lines(), min_size=1, max_size=8))
@examples(400, few=60)
def test_what_the_scan_accepts_means_the_same_to_the_reference_on_many_lines(texts):
    agree(texts)


@given(st.lists(lines(may_lack=("user_id", "session_id")) | damaged_lines(), min_size=1, max_size=8))
@examples(100)
@example([line(), line(session_id=LEFT_OUT), line(session_id=LEFT_OUT, user_id=" "), line(session_id=None)])
def test_what_the_scan_accepts_without_a_session_means_the_same_to_the_reference(texts):
    agree(texts, SESSIONLESS)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        pytest.param(line(session_id=LEFT_OUT), True, id="no session"),
        pytest.param(line(session_id=None), True, id="null session"),
        pytest.param(line(session_id=" "), True, id="blank session"),
        pytest.param(line(user_id=LEFT_OUT), True, id="no user"),
        pytest.param(line(session_id=LEFT_OUT, user_id=LEFT_OUT), False, id="neither"),
        pytest.param(line(session_id="", user_id=None), False, id="neither, in other words"),
    ],
)
def test_lines_without_a_session_stay_on_the_fast_path_where_a_user_is_there(text, good):
    assert agree([text, line(), text], SESSIONLESS) == [good, True, good]
    fault = read_line(text, SESSIONLESS)
    assert good or fault.reason is Reason.NO_SESSION


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_lines_agree_alone_and_after_a_line_of_the_same_shape(text):
    agree([text])
    assert agree([line(), text, line()])[::2] == [True, True]


def test_a_line_changed_in_any_one_byte_agrees():
    text = line(user_id="ü", x=1.5e3)
    variants = [
        text[:place] + bytes([byte]) + text[place + 1 :]
        for place in range(len(text))
        for byte in (0x00, 0x22, 0x2C, 0x30, 0x39, 0x5C, 0x7B, 0x7D, 0x80, 0xC3, 0xFF)
    ]
    accepted = agree([text, *variants])
    assert accepted[0]
    assert not all(accepted)


def test_a_line_cut_off_anywhere_agrees():
    text = line(x=[{"a": None}], y="\\u00e9")
    accepted = agree([text[:size] for size in range(len(text) + 1)])
    assert accepted == [False] * len(text) + [True]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(line(), id="plain"),
        pytest.param(line().replace(b" ", b""), id="without spaces"),
        pytest.param(line() + b"\r", id="CR"),
        pytest.param(line(user_id=None, rank=None), id="nulls"),
        pytest.param(line(user_id=LEFT_OUT, request_id=LEFT_OUT, rank=LEFT_OUT, event=LEFT_OUT), id="required only"),
        pytest.param(line(item_id="é€😀", user_id="　ü "), id="not ASCII"),
        pytest.param(json.dumps({**GOOD, "item_id": "é€😀\n"}).encode(), id="escaped"),
        pytest.param(line(page={"url": "https://x/?a=[1]", "tags": [[], {}, None, True, -1.5e-3]}), id="nested"),
        pytest.param(line(ts="2026-01-01T09:30:00.123456789+01:30"), id="offset"),
        pytest.param(line(item_id="i" * 5000), id="long id"),
    ],
)
def test_ordinary_lines_stay_on_the_fast_path(text):
    assert agree([text, text]) == [True, True]


def test_lines_of_many_shapes_in_turn_are_each_read_right():
    texts = [
        line(),
        line(x=1),
        line(user_id=None),
        line(rank=7),
        line(x="a", y=2),
        line()[::-1],
        line(item_id="i2"),
    ] * 3
    assert agree(texts) == [True, True, True, True, True, False, True] * 3


def test_nothing_of_a_line_is_left_over_for_the_next_of_the_same_shape():
    texts = [line(rank=7, x=1), line(rank=None, x=1), line(user_id=None, event=None, x=1), line(user_id=" ", x=2)]
    assert agree(texts + texts[::-1]) == [True] * 8


@pytest.mark.parametrize("text", [pytest.param(param.values[0], id=param.id) for param in [*INSTANTS, *NO_INSTANTS]])
def test_instants_are_read_as_the_reference_reads_them(text):
    accepted = agree([line(ts=text)])
    assert accepted[0] == (isinstance(read_line(line(ts=text)), RawEvent) and "1971" <= text[:4] < "2199")


def test_every_character_is_trimmed_or_kept_as_the_reference_does():
    characters = [chr(code) for code in (*range(1, 0x3100), *range(0xFE00, 0x10000), 0x1F600, 0x10FFFF) if code != 10]
    assert all(agree([line(item_id=f"{character}x{character}") for character in characters]))


def test_unknown_names_are_counted_over_accepted_lines():
    texts = [line(x=1), line(x=2), line(x=3, é=None), line(x=1)[:-1], line()]
    assert unknown_counts(texts) == {"x": 3, "é": 1}


GOLDEN = sorted((Path(__file__).parents[3] / "shared" / "golden").glob("*/exposures.jsonl"))


@pytest.mark.skipif(not GOLDEN, reason="the golden cases are not beside the project")
@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in GOLDEN])
def test_golden_lines_all_stay_on_the_fast_path(path):
    assert all(agree(path.read_bytes().splitlines()))
