"""A report reads the same in Markdown, and what stands in it stays text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.upkeep.report_document import MAX_TEXT, Report, Section, shown, to_markdown

EVIL = "a|b\n# *x* [y](z) <img> `q`"


def test_a_page_is_its_title_its_facts_and_its_sections():
    section = Section(
        "Numbers", message=("All is well.",), columns=("kind", "rows"), rows=(("cooc", 1234), ("x", None))
    )
    assert to_markdown(Report("One", (("bytes", 10_000), ("live", True)), (section, Section("Empty")))) == (
        "# One\n\n- bytes: 10,000\n- live: yes\n\n## Numbers\n\n- All is well.\n\n"
        "| kind | rows |\n| --- | --- |\n| cooc | 1,234 |\n| x | - |\n\n## Empty\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "-", id="nothing"),
        pytest.param(False, "no", id="a boolean is no number"),
        pytest.param(1234567, "1,234,567", id="whole"),
        pytest.param(0.123456, "0.1235", id="share"),
        pytest.param("drift_rows", "drift_rows", id="a name keeps its underscore"),
        pytest.param("\x1b[31m", "\\u001b[31m", id="control characters are spelled"),
        pytest.param("x" * 5000, "x" * (MAX_TEXT - 1) + "…", id="long"),
    ],
)
def test_a_value_is_shown_as_people_read_it(value, text):
    assert shown(value) == text


def test_hostile_text_makes_neither_a_cell_nor_a_tag_nor_a_heading():
    text = to_markdown(Report(EVIL, ((EVIL, EVIL),), (Section(EVIL, (EVIL,), ("c",), ((EVIL,),)),)))
    assert text.count("\n# ") == 0
    assert "<img" not in text.replace("\\<img", "")
    row = text.splitlines()[-1]
    assert row.replace("\\|", "").count("|") == 2


@given(st.text(max_size=60))
def test_any_text_stays_in_its_cell(text):
    line = to_markdown(Report("t", (), (Section("s", (), ("c",), ((text,),)),))).splitlines()[-1]
    assert line.startswith("| ")
    assert line.replace("\\\\", "").replace("\\|", "").count("|") == 2
