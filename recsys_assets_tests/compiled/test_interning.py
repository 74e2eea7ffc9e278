"""Interning and merging: each string once, by appearance, however many there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.compiled.arrays import Strings
from recsys_assets.compiled.interning import FULL, clear, intern, new_tables
from recsys_assets.ingest.line_reader import RawEvent
from recsys_assets.ingest.parse import PartBuffer
from recsys_assets.ingest.part_merge import ABSENT, CODED_COLUMNS, Union, gather, merge_parts, part_of, translate, unite

TEXTS = st.lists(st.text(max_size=70), max_size=60)


def codes_of(tables, table, texts):
    strings = Strings.of(texts)
    bounds = strings.offsets.tolist()
    return [intern(tables, table, strings.data, bounds[n], bounds[n + 1] - bounds[n]) for n in range(len(texts))]


def by_appearance(texts):
    known = {}
    return [known.setdefault(text, len(known)) for text in texts]


@given(TEXTS)
@settings(deadline=None)
def test_codes_count_distinct_strings_by_appearance(texts):
    tables = new_tables(2, capacity=100, text_bytes=100_000)
    assert codes_of(tables, 1, texts * 2) == by_appearance(texts * 2)
    assert codes_of(tables, 0, texts[::-1]) == by_appearance(texts[::-1]), "tables know nothing of each other"


def test_tables_grow_past_their_first_slots_and_forget_when_asked():
    texts = [f"id-{n}" for n in range(20_000)]
    tables = new_tables(1, capacity=len(texts), text_bytes=400_000)
    assert codes_of(tables, 0, texts) == list(range(20_000))
    assert codes_of(tables, 0, texts[::-1]) == list(range(20_000))[::-1]
    clear(tables)
    assert codes_of(tables, 0, texts[::-1]) == list(range(20_000))


@pytest.mark.parametrize(
    ("capacity", "text_bytes"), [pytest.param(3, 1000, id="strings"), pytest.param(100, 6, id="bytes of text")]
)
def test_a_full_table_says_so_and_still_knows_what_it_holds(capacity, text_bytes):
    tables = new_tables(1, capacity=capacity, text_bytes=text_bytes)
    assert codes_of(tables, 0, ["aa", "bb", "cc", "dd", "bb", "ee"]) == [0, 1, 2, FULL, 1, FULL]


@given(st.lists(TEXTS.map(lambda texts: list(dict.fromkeys(texts))), max_size=4))
@settings(deadline=None)
def test_united_strings_are_distinct_and_every_map_leads_to_its_string(many):
    united, maps = unite([Strings.of(texts) for texts in many])
    texts = united.texts()
    assert texts == list(dict.fromkeys(text for each in many for text in each))
    assert [[texts[code] for code in column.tolist()] for column in maps] == many


def test_a_union_grows_past_any_room_it_began_with():
    union = Union()
    pieces = [[f"{n}-{'x' * 50}" for n in range(start, start + 3000)] for start in range(0, 30_000, 1500)]
    codes = [union.add(Strings.of(texts)).tolist() for texts in pieces]
    assert codes == [[int(text.split("-")[0]) for text in texts] for texts in pieces]
    assert union.strings().texts() == [f"{n}-{'x' * 50}" for n in range(31_500)]


def test_translation_keeps_absent_absent():
    columns = [np.array([1, ABSENT, 0], np.uint32), np.array([0], np.uint32)]
    maps = [np.array([5, 6], np.uint32), np.array([9], np.uint32)]
    assert translate(columns, maps).tolist() == [6, ABSENT, 5, 9]


def test_gathered_strings_come_in_the_order_asked_for():
    assert gather(Strings.of(["a", "", "é", "dd"]), np.array([3, 1, 1, 2])).texts() == ["dd", "", "", "é"]


def event(n, user="u"):
    return RawEvent(n, "shop", "home", user, f"s{n % 3}", n, f"i{n % 2}", None, "view" if n % 2 else None)


def rows(part):
    texts = {name: part.ids[name].texts() for name in CODED_COLUMNS}
    columns = ([None if c == ABSENT else texts[name][c] for c in part.codes[name].tolist()] for name in CODED_COLUMNS)
    return list(zip(part.ts.tolist(), *columns, strict=True))


def test_merged_parts_hold_the_rows_of_all_in_order():
    first, second = [event(n) for n in range(5)], [event(n, user=None) for n in range(3, 9)]
    merged = merge_parts([part_of(first), part_of(second), part_of([])])
    assert rows(merged) == rows(part_of(first + second))
    assert merged.ids["session_id"].texts() == ["s0", "s1", "s2"]


def test_a_full_buffer_hands_on_the_largest_target_first():
    kept = []
    buffer = PartBuffer(lambda name, part: kept.append((name, len(part))), part_rows=10, buffered_rows=15)
    for name, count in (("a", 6), ("b", 4), ("c", 5), ("a", 3), ("b", 6)):
        buffer.add(name, part_of([event(n) for n in range(count)]))
    assert kept == [("a", 6), ("b", 10)]
    buffer.flush()
    assert kept[2:] == [("a", 3), ("c", 5)]
