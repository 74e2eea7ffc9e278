"""Quarantine: what a refused line looks like there, with nothing lost and nothing unbounded."""

import json

import pytest

from recsys_assets.ingest.quarantine import MAX_TEXT_BYTES, Reason, Reject, encode_rejects, show_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"abc", ("abc", False), id="plain"),
        pytest.param("é\\n\x00".encode(), ("é\\n\x00", False), id="good UTF-8 as it stands"),
        pytest.param(b"a\xffb", ("a\\xffb", True), id="bad byte"),
        pytest.param(b"a\\xff\xff", ("a\\\\xff\\xff", True), id="bad byte beside its own escape"),
        pytest.param(b"\xed\xa0\x80", ("\\xed\\xa0\\x80", True), id="surrogate"),
        pytest.param(b"x" * 5000, ("x" * MAX_TEXT_BYTES, False), id="long"),
        pytest.param(b"x" * 4095 + "é".encode(), ("x" * 4095, False), id="cut inside a character"),
        pytest.param(b"x" * 4093 + "😀".encode(), ("x" * 4093, False), id="cut inside a longer character"),
        pytest.param(b"x" * 4092 + "😀".encode() + b"y", ("x" * 4092 + "😀", False), id="cut behind a character"),
        pytest.param(b"\x80" * 5000, ("\\x80" * MAX_TEXT_BYTES, True), id="long and bad"),
    ],
)
def test_a_line_is_shown_without_loss(line, expected):
    assert show_line(line) == expected


def test_rejects_are_json_lines_without_what_is_not_known():
    bad = Reject("a.jsonl", 7, Reason.NOT_JSON, "why", 3, "a\nb")
    late = Reject("b", 1, Reason.OUT_OF_WINDOW, "late", 2, "{}", tenant="shop", surface="home", day="2026-01-02")
    first, second = encode_rejects([bad, late]).decode().splitlines()
    assert json.loads(first) == {
        "file": "a.jsonl",
        "line": 7,
        "reason": "not_json",
        "detail": "why",
        "size": 3,
        "text": "a\nb",
        "escaped": False,
    }
    assert json.loads(second)["day"] == "2026-01-02"
    assert encode_rejects([]) == b""
