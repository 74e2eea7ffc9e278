"""Canonical events: distinct, in one total order, and the same however the rows came."""

import json
import random
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.events.canonicalize import CanonicalCounts, canonicalize
from recsys_assets.events.event_files import encode_events
from recsys_assets.events.events import ID_COLUMNS, SCHEMA
from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets_tests.events.rows import ROWS, events, in_order, part, row, rows_of
from recsys_assets_tests.ingest.memory_input import MemoryInput
from recsys_assets_tests.thoroughness import examples

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = sorted((SHARED / "golden").glob("*/case.json"))
ONLINE_RETAIL = SHARED / "data" / "online-retail" / "exposures"


@given(st.lists(ROWS, max_size=60))
@examples(150)
def test_canonical_events_are_the_distinct_rows_in_order(rows):
    found, counts = canonicalize([part(rows)])
    expected = in_order(rows)
    assert rows_of(found) == expected
    assert counts == CanonicalCounts(len(rows), len(rows) - len(expected), len(expected))


@given(st.lists(ROWS, max_size=40), st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 3))
@examples(60)
def test_order_division_and_threads_change_no_byte(rows, chance, divisions, threads):  # F25, F30
    shuffled = rows + chance.sample(rows, len(rows) // 2)
    chance.shuffle(shuffled)
    parts = [part(shuffled[n::divisions]) for n in range(divisions)]
    whole = encode_events(canonicalize([part(rows)])[0])
    for expected in (0, 1, len(rows), 2 * len(rows)):  # a hint of how much room to take, and no more
        assert encode_events(canonicalize(iter(parts), expected=expected, threads=threads)[0]) == whole


def test_codes_compare_as_ids_do_and_absent_is_null():
    found = events(
        [row(1, user="b"), row(2, user=None), row(3, user="a"), row(4, user="\U0001f600"), row(5, user="\uffff")]
    )
    assert found.codes.schema == dict(SCHEMA)
    assert found.codes["user_id"].to_list() == [1, None, 0, 3, 2]
    assert found.ids["user_id"].to_list() == ["a", "b", "\uffff", "\U0001f600"]


def test_equal_instants_are_ordered_by_every_other_column_absent_first():
    rows = [
        row(user=None, session="z", rank=9),
        row(user="a", session="a", rank=9),
        row(user="a", session="b", rank=0, item="b"),
        row(user="a", session="b", rank=1, item="a"),
        row(user="a", session="b", rank=1, item="b"),
        row(user="a", session="b", rank=1, item="b", request="a"),
        row(user="a", session="b", rank=1, item="b", request="b"),
        row(user="a", session="b", rank=1, item="b", request="b", event="a"),
        row(user="b", session="a"),
    ]
    assert rows_of(events(rows[::-1])) == rows


@pytest.mark.parametrize("count", [15, 16, 17, 33, 1000])
def test_many_rows_at_one_instant_are_ordered(count):
    rows = [row(user=f"u{n % 7}", session=f"s{n % 11}", rank=n % 5, item=f"i{n}") for n in range(count)]
    random.Random(count).shuffle(rows)  # noqa: S311 - a shuffle, no secret
    assert rows_of(events(rows)) == in_order(rows)


def test_no_rows_are_an_empty_day():
    found, counts = canonicalize([])
    assert (found.codes.schema, len(found.codes), counts.rows) == (dict(SCHEMA), 0, 0)
    assert {len(found.ids[name]) for name in ID_COLUMNS} == {0}


def test_ids_that_no_row_uses_are_dropped():
    used = part([row(item="b"), row(item="a")])
    codes = {name: column[1:] for name, column in used.codes.items()}
    found, _ = canonicalize([type(used)(used.ts[1:], used.rank[1:], codes, used.ids)])
    assert found.ids["item_id"].to_list() == ["a"]


def parse(data, target, day):
    parts = []
    source = MemoryInput("exposures", data, (target,))
    report = parse_day(
        [source], day=day, targets=[target], keep_part=lambda _, part: parts.append(part), keep_rejects=lambda _: None
    )
    return report, parts


@pytest.mark.skipif(not GOLDEN, reason="the golden cases are not beside the project")
@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in GOLDEN])
def test_golden_cases_have_the_events_that_they_say(path):
    case = json.loads(path.read_text())
    data = (path.parent / "exposures.jsonl").read_bytes()
    target = Target(case["tenant"], case["surface"])
    report, parts = parse(data, target, date.fromisoformat(case["day"]))
    assert report.rejects == 0
    assert report.targets[target].events == case["events"]
    _, counts = canonicalize(parts)
    assert counts.events == case["events"]
