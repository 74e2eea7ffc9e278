"""Sorting strings: by code point, whatever they look like."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.compiled.arrays import Strings
from recsys_assets.compiled.string_sort import ascending, sort_strings

CHANCE = random.Random(7)  # noqa: S311 - a shuffle, no secret


def sorted_texts(texts):
    strings = Strings.of(texts)
    return [texts[position] for position in sort_strings(strings)]


@given(st.lists(st.text(st.sampled_from("\x00ab\x7fé\uffff\U0001f600"), max_size=20), unique=True, max_size=80))
@settings(deadline=None)
def test_strings_come_in_code_point_order(texts):
    assert sorted_texts(texts) == sorted(texts)
    assert ascending(Strings.of(sorted(texts)))


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([], id="none"),
        pytest.param(["only"], id="one"),
        pytest.param([f"session-2026-{n:09d}" for n in range(20_000)], id="one common prefix"),
        pytest.param(
            [f"{'ab'[n % 2]}_session_{n:09d}" for n in range(20_000)], id="two prefixes, long runs of one word"
        ),
        pytest.param([f"{n:032x}" for n in range(0, 2**128, 2**128 // 9999)], id="random"),
        pytest.param(["a" + "\x00" * n for n in range(6000)], id="differ by NULs behind only"),
        pytest.param(["p" * (n // 10) + str(n % 10) for n in range(9000)], id="prefixes of each other"),
        pytest.param(["x" * 8 * n for n in range(1, 200)], id="lengths of whole words"),
    ],
)
def test_long_lists_are_sorted_too(texts):
    shuffled = CHANCE.sample(texts, len(texts))
    assert sorted_texts(shuffled) == sorted(texts)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param([], True, id="none"),
        pytest.param(["a"], True, id="one"),
        pytest.param(["", "a", "a\x00", "b"], True, id="ascending"),
        pytest.param(["a", "a"], False, id="equal"),
        pytest.param(["aaaaaaaab", "aaaaaaaaa"], False, id="descending in the second word"),
        pytest.param(["\U0001f600", "\uffff"], False, id="order of UTF-16 is not ours"),
    ],
)
def test_ascending_means_strictly(texts, expected):
    assert ascending(Strings.of(texts)) is expected
