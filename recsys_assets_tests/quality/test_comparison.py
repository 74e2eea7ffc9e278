"""Two releases answer the same tasks through the reader's lookups; the difference is worse only when that is sure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.identity import Target
from recsys_assets.quality.comparison import ComparisonVerdict, Protocol, compare, paired_interval
from recsys_assets.quality.tasks import Task, Tasks
from recsys_assets.release.releases import versions_of
from recsys_assets.serving.loading import load_trial
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.quality.test_tasks import START

ROWS = {
    "popularity": {"tea": 7, "cup": 5, "pot": 3},
    "cooc": {"tea": {"cup": 4, "pot": 2}, "cup": {"tea": 4, "pot": 3}, "pot": {"cup": 3, "tea": 2}},
    "implicit": {"ann": {"pot": 2, "tea": 1}},
    "content_sim": {"tea": ["hot"]},
}


def snapshot(rows):
    store = MemoryStore()
    release = publish_fixture(store, "shop", "home", rows).release
    return load_trial(store, Target("shop", "home"), versions_of(release), at=START)


@pytest.fixture(scope="module")
def release():
    return snapshot(ROWS)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50), st.integers(0, 5))
def test_an_interval_is_the_same_for_a_seed_and_lies_among_the_differences(differences, seed):
    values = np.array(differences)
    low, high = paired_interval(values, rounds=100, seed=seed, level=0.9)
    assert (low, high) == paired_interval(values, rounds=100, seed=seed, level=0.9)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        low, high = paired_interval(random.normal(0.1, 1, 200), rounds=200, seed=trial, level=0.95)
        covered += low <= 0.1 <= high
    assert 180 <= covered <= 199


def verdicts(candidate, live, *, count=200, min_samples=100):
    tasks = Tasks([Task((("tea",),), "ann", ("cup",))] * count, frozenset({"cup"}))
    found = compare(candidate, live, tasks, Protocol(rounds=100, min_samples=min_samples))
    return {one.name: one.verdict for one in found}


def test_the_same_release_is_not_worse_than_itself(release):
    assert set(verdicts(release, release).values()) <= {ComparisonVerdict.NOT_WORSE, ComparisonVerdict.INCONCLUSIVE}
    assert verdicts(release, release)["cooc"] is ComparisonVerdict.NOT_WORSE


def test_too_few_samples_decide_nothing(release):
    assert set(verdicts(release, release, count=99).values()) == {ComparisonVerdict.INCONCLUSIVE}


def test_a_kind_that_is_gone_is_worse_where_it_answered(release):
    less = snapshot({"popularity": ROWS["popularity"]})
    assert verdicts(less, release)["cooc"] is ComparisonVerdict.WORSE
    assert verdicts(less, release)["popularity"] is ComparisonVerdict.NOT_WORSE


def test_the_caller_can_end_a_comparison(release):
    class EnoughError(Exception):
        """The caller has waited for long enough."""

    def go_on():
        raise EnoughError

    with pytest.raises(EnoughError):
        compare(release, release, Tasks([Task((("tea",),), None, ("cup",))], frozenset()), Protocol(), go_on=go_on)
