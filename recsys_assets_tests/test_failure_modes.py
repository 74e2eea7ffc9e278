"""The list of failure modes and the tests name each other."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
LIST = (TESTS.parent / "docs/reference/failure-modes.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (F\d+) \|(.*)$", LIST, re.MULTILINE))
GAPS = {number for number, row in ROWS.items() if "(no test yet)" in row}
MENTION = re.compile(r"(?:\b|_)[Ff](\d{1,2})(?=\b|_)")


def mentioned():
    """Return the numbers that test files mention in names of tests, ids of cases, or comments."""
    texts = (path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    return {f"F{number}" for text in texts for number in MENTION.findall(text)}


def test_every_failure_mode_has_a_test_or_is_a_known_gap():
    assert ROWS.keys() - mentioned() == GAPS


def test_every_number_that_a_test_mentions_is_listed():
    assert {number for number in mentioned() if number not in ROWS} == set()


def test_every_test_that_the_page_of_wrong_input_names_is_there():
    page = (TESTS.parent / "docs/reference/wrong-input.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    assert len(named) > 40
    missing = [pair for pair in named if f"def {pair[1]}(" not in (TESTS / pair[0]).read_text(encoding="utf-8")]
    assert missing == []


def test_the_page_on_safety_names_tests_that_exist():
    page = (TESTS.parent / "docs/explanation/how-safety-is-tested.md").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")]
    known = {name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.MULTILINE)}
    assert set(re.findall(r"`(test_\w+)`", page)) - known == set()
