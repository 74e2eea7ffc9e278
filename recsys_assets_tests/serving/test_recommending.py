"""A release recommends by each kind's own lookups and by their blend, the same through the reader and the back-test."""

import pytest

from recsys_assets.serving.recommending import recommenders
from recsys_assets_tests.quality.test_comparison import ROWS, snapshot


@pytest.fixture(scope="module")
def release():
    return snapshot(ROWS)


@pytest.mark.parametrize(
    ("name", "recent", "user", "expected"),
    [
        pytest.param("popularity", ["tea"], None, ["cup", "pot"], id="the most seen, without what the session has"),
        pytest.param("cooc", ["tea"], None, ["cup", "pot"], id="neighbours"),
        pytest.param("cooc", ["cup", "tea"], None, ["pot"], id="of several items, the nearer the heavier"),
        pytest.param("cooc", ["mug"], None, [], id="an unknown item has no neighbours"),
        pytest.param("implicit", ["cup"], "ann", ["pot", "tea"], id="the user's own list"),
        pytest.param("implicit", ["cup"], None, [], id="nobody has no list"),
        pytest.param("implicit", ["cup"], "eve", [], id="an unknown user has none"),
        # pot: 2 * 2/3 + 2/6 = 5/3, cup: 4/6; the neighbours alone say the contrary.
        pytest.param("blend", ["tea"], "ann", ["pot", "cup"], id="history weighs twice as much as neighbours"),
        pytest.param("blend", ["tea"], "eve", ["cup", "pot"], id="without history the neighbours decide"),
        pytest.param("blend", ["mug"], None, ["tea", "cup", "pot"], id="with neither, popularity fills"),
    ],
)
def test_each_kind_answers_through_its_own_lookup(release, name, recent, user, expected):
    assert recommenders(release.lookups)[name].recommend(user, [(item,) for item in recent], limit=20) == expected


def test_tags_recommend_nothing(release):
    assert set(recommenders(release.lookups)) == {"popularity", "cooc", "implicit", "blend"}


def test_the_reader_recommends_by_the_blend_and_counts_its_questions(release):
    assert release.recommend(user_id="ann", recent=["tea"]) == ["pot", "cup"]
    assert release.recommend(recent=["mug"], limit=2) == ["tea", "cup"]
    assert release.counter.kinds["cooc"].counts().unknown == 1
    assert release.counter.kinds["implicit"].counts().asked == 1


def test_popularity_only_fills_what_is_short():
    rows = {"popularity": {"top": 100, "second": 50, "pot": 1}, "cooc": {"tea": {"pot": 1}, "pot": {"tea": 1}}}
    assert snapshot(rows).recommend(recent=["tea"], limit=2) == ["pot", "top"]


def test_counts_of_one_kind_do_not_drown_those_of_another():
    """A score in millionths beside a count: both lists come to the same share."""
    rows = {"cooc": {"tea": {"cup": 3, "pot": 1}}, "sequential_rules": {"tea": {"pot": 500_000, "jug": 250_000}}}
    assert snapshot(rows).recommend(recent=["tea"]) == ["pot", "cup", "jug"]


def test_scores_below_zero_keep_their_order():
    """Other teams' scores may be logarithms of chances."""
    rows = {"implicit": {"ann": {"pot": -0.5, "tea": -2.0, "cup": -1.0}}}
    assert snapshot(rows).recommend(user_id="ann") == ["pot", "cup", "tea"]


def test_a_release_without_rows_recommends_nothing():
    assert snapshot({"content_sim": {"tea": ["hot"]}}).recommend(user_id="ann", recent=["tea"]) == []


def test_a_blocked_item_is_recommended_by_no_kind(release):
    assert release.without(frozenset({"pot"})).recommend(user_id="ann", recent=["tea"]) == ["cup"]
    assert release.without(frozenset({"cup"})).recommend(recent=["mug"]) == ["tea", "pot"]
