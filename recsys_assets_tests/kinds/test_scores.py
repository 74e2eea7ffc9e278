"""Scores of pairs and the weight of age: whole numbers that agree with the oracle, whatever order, size or window."""

from fractions import Fraction
from math import isqrt, sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys_assets.kinds.contracts import check_rows
from recsys_assets.kinds.cooc_scan import CODES, SCALE, Score, similarity
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import merge_tallies, tally_day, weights_by_age, with_ages
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds import oracles
from recsys_assets_tests.kinds.event_rows import events_of, row
from recsys_assets_tests.kinds.test_kernel_laws import as_people_read, crowd, params_of
from recsys_assets_tests.kinds.test_tallies import DAY, windows
from recsys_assets_tests.thoroughness import examples

LIMITS = LimitSettings()
AGED = [KINDS["cooc"], KINDS["popularity"]]
MOST_SESSIONS = 10**8 * 1000  # limits.max_events sessions of one event, in thousandths
__all__ = ["crowd"]


def score(of, shared, one, other, *, shrinkage=0):
    return similarity(CODES[of], shrinkage, shared, one, other)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(Score.COUNT, 3, id="count"),
        pytest.param(Score.COSINE, isqrt(750_000 * 333_333), id="cosine: root of 3 of 4 times 3 of 9"),
        pytest.param(Score.JACCARD, SCALE * 3 // 10, id="jaccard: 3 of 4 + 9 - 3"),
    ],
)
def test_a_score_is_what_its_name_says(of, expected):
    assert score(of, 3, 4, 9) == expected


@examples(50)
@given(
    of=st.sampled_from(Score),
    one=st.integers(1, MOST_SESSIONS),
    other=st.integers(1, MOST_SESSIONS),
    shared=st.integers(1, MOST_SESSIONS),
    shrinkage=st.integers(0, 10**9),
)
def test_a_score_is_the_same_from_both_sides_exact_and_never_nothing(of, one, other, shared, shrinkage):
    """Also at the largest numbers that the limits let in: nothing overflows (F23)."""
    assume(shared <= min(one, other))
    found = score(of, shared, one, other, shrinkage=shrinkage)
    assert found == score(of, shared, other, one, shrinkage=shrinkage) >= 1
    exact = {
        Score.COUNT: shared,
        Score.COSINE: isqrt((shared * SCALE // one) * (shared * SCALE // other)),
        Score.JACCARD: shared * SCALE // (one + other - shared),
    }[of]
    share = shared * SCALE // (shared + shrinkage)
    assert found == max(1, exact * share // SCALE if shrinkage else exact)


@examples(50)
@given(root=st.integers(1, SCALE))
def test_a_cosine_is_the_whole_part_of_its_root(root):
    assert score(Score.COSINE, root, SCALE, SCALE) == root
    assert isqrt(root * root - 1) == int(sqrt(root * root - 1)) == root - 1


@pytest.mark.parametrize("of", Score)
def test_a_crowd_with_scores_agrees_with_the_oracle_and_keeps_the_contract(of, crowd):
    kind = KINDS["cooc"]
    params = kind.params(score=of, shrinkage=0 if of is Score.COUNT else 5, max_neighbors=7)
    rows = kind.build(events_of(crowd), params, LIMITS).rows
    assert rows.frame().rows() == as_people_read(kind, oracles.cooc(crowd, params))
    assert check_rows(rows, params) == ()


@pytest.mark.parametrize("kind", AGED, ids=lambda kind: kind.name)
@examples(50)
@given(days=windows, data=st.data())
def test_a_window_weighs_each_day_by_its_age(kind, days, data):
    """Through tallies, as a window is built: sessions over midnight count by their latest day."""
    params = data.draw(params_of(kind, native=True))
    ages = list(range(len(days) - 1, -1, -1))
    tallies = [tally_day(events_of(rows), kind.reading(params).event_columns) for rows in days]
    built = kind.build(merge_tallies(with_ages(tallies, ages)), params, LIMITS)
    rows = oracles.chosen([one for day in days for one in day], params)
    expected = getattr(oracles, kind.name)(rows, params, age_of=lambda r: len(days) - 1 - r.ts // DAY)
    assert built.rows.frame().rows() == as_people_read(kind, expected)


@examples(50)
@given(half_life=st.integers(1, 3660), oldest=st.integers(0, 400))
def test_weights_of_age_fall_by_half_at_each_half_life(half_life, oldest):
    weights = weights_by_age(half_life, oldest=oldest).tolist()
    assert weights[0] == 1000
    assert weights == sorted(weights, reverse=True)
    for age in range(0, oldest + 1, half_life):
        assert weights[age] == max(1, round(Fraction(1000, 2 ** (age // half_life))))


def test_an_old_neighbour_gives_way_to_a_new_one():
    days = [
        [row(n, None, f"s{n}", item) for n in (1, 2) for item in ("a", "old")],
        [row(DAY, None, "t", item) for item in ("a", "new")],
    ]
    kind = KINDS["cooc"]
    tallies = with_ages([tally_day(events_of(rows), kind.event_columns) for rows in days], [7, 0])
    params = kind.params(min_support=1, half_life_days=3)
    assert kind.build(merge_tallies(tallies), params, LIMITS).rows.frame().rows()[:2] == [
        ("a", "new", 1000),
        ("a", "old", 2 * 198),  # 1000 / 2 ** (7 / 3)
    ]


@pytest.mark.parametrize(
    ("of", "first"),
    [
        pytest.param(Score.COUNT, "bag", id="count: what stands in every basket"),
        pytest.param(Score.COSINE, "cup", id="cosine"),
        pytest.param(Score.JACCARD, "cup", id="jaccard"),
    ],
)
def test_a_score_prefers_what_belongs_together_to_what_is_everywhere(of, first):
    baskets = [("tea", "bag", "cup")] * 3 + [("tea", "bag")] + [("bag", "x")] * 20
    rows = [row(n, None, f"s{n}", item) for n, basket in enumerate(baskets) for item in basket]
    kind = KINDS["cooc"]
    found = kind.build(events_of(rows), kind.params(score=of), LIMITS).rows.frame()
    assert found.filter(item_id="tea")["neighbor_id"][0] == first


def test_shrinkage_of_a_count_is_refused():
    with pytest.raises(ValidationError, match="shrinkage has no effect on the score count"):
        KINDS["cooc"].params(shrinkage=3)
