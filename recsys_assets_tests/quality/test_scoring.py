"""Scores are means over all orders of equal weights and equal instants, so that the names of items decide nothing."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recsys_assets.encoding.codec import encode
from recsys_assets.events.events import ID_COLUMNS, Events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.quality.comparison import Protocol, compare, score
from recsys_assets.quality.tasks import Task, Tasks, before, cut_day, next_item_tasks
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.loading import load_trial
from recsys_assets.serving.recommending import NEAREST, Recommender
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.thoroughness import examples

START = datetime(2026, 1, 1, tzinfo=UTC)
TARGET = Target("shop", "home")
ITEMS = "abcdefg"


def beside(lists):
    return Recommender(beside=lambda item: lists.get(item, {}))


def in_order(counts):
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    return Recommender(fill=lambda: iter(ranked))


def test_the_usual_numbers_of_three_answers():
    """Places 1, 2 and missing: the formulas by hand."""
    tasks = Tasks([Task((("x",),), None, (target,)) for target in "abz"], frozenset("abcz"))
    found = score(in_order({"a": 3, "b": 2}), tasks, k=2)
    assert found.hit_rate == pytest.approx(2 / 3)
    assert found.mrr == pytest.approx((1 + 1 / 2) / 3)
    assert found.ndcg == pytest.approx((1 + 1 / np.log2(3)) / 3)
    assert found.coverage == 0.5  # a and b of four


def test_no_task_is_no_number():
    nothing = score(Recommender(), Tasks([], frozenset()), k=20)
    assert (nothing.hit_rate, nothing.mrr, nothing.ndcg, nothing.answered, nothing.coverage) == (0, 0, 0, 0, 0)


def test_a_task_without_any_recommendation_is_not_answered():
    tasks = Tasks([Task((("x",),), None, ("a",)), Task((("y",),), None, ("a",))], frozenset("a"))
    assert score(beside({"x": {"b": 1}}), tasks, k=20).answered == 0.5


def test_what_only_some_orders_show_is_not_covered():
    tasks = Tasks([Task((("x",),), None, ("z",))], frozenset("abc"))
    assert score(in_order({"a": 2, "b": 1, "c": 1}), tasks, k=2).coverage == pytest.approx(1 / 3)


lists = st.dictionaries(
    st.sampled_from(ITEMS), st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 3), max_size=5), max_size=7
)
steps = st.lists(st.sampled_from(ITEMS), min_size=2, max_size=6, unique=True).flatmap(
    lambda items: st.integers(0, len(items) - 1).map(lambda cut: (items[:cut], items[cut:]))
)


def orders_of(weights, counts, seen):
    """Yield every order in which equals can stand: by weight, then by the list that fills."""
    key = {item: (weights.get(item, 0), counts.get(item, 0)) for item in {*weights, *counts} - seen}
    key = {item: (weight, 0 if weight else count) for item, (weight, count) in key.items()}
    yield from {tuple(sorted(order, key=key.__getitem__, reverse=True)) for order in permutations(key)}


def gain_by_hand(near, history, counts, task, target, k):
    """Return the mean nDCG over all orders, from the definition alone."""
    context = task.context or (tuple(item for item in task.targets if item != target),)
    weights = {}
    for distance, step in enumerate(reversed(context[-5:]), start=1):
        for item in step:
            for other, weight in near.get(item, {}).items():
                weights[other] = weights.get(other, 0) + weight * NEAREST // distance
    seen = {item for step in context for item in step}
    share = sum(NEAREST // distance * len(step) for distance, step in enumerate(reversed(context[-5:]), start=1))
    for item, weight in history.items():
        weights[item] = weights.get(item, 0) + weight * (share or NEAREST)
    gains = [
        1 / np.log2(order.index(target) + 2) if target in order[:k] else 0.0
        for order in orders_of(weights, counts, seen)
    ]
    return np.mean(gains)


@examples(60)
@given(
    lists,
    st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 3), max_size=3),
    st.dictionaries(st.sampled_from(ITEMS), st.integers(1, 2), max_size=5),
    steps,
    st.integers(1, 3),
)
def test_a_score_is_the_mean_over_all_orders_of_equals(near, history, counts, cut, k):
    context, targets = cut
    task = Task(tuple((item,) for item in context), "ann", tuple(targets))
    if not context and len(targets) < 2:
        return
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    recommender = Recommender(lambda _: history, lambda item: near.get(item, {}), lambda: iter(ranked))
    found = score(recommender, Tasks([task], frozenset(ITEMS)), k=k)
    expected = np.mean([gain_by_hand(near, history, counts, task, target, k) for target in targets])
    assert found.ndcg == pytest.approx(expected)


visits = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("stu"), st.sampled_from([None, "ann", "bob"]), st.sampled_from(ITEMS)),
    min_size=4,
    max_size=40,
)
UNCUT = {"cooc": {"min_support": 1}, "item_seq": {"min_support": 1}, "sequential_rules": {"self_entry": True}}
# session_seq leaves out a user's first event, by its contract the first in canonical order: of one instant, by item id.
RECOMMENDING = [name for name, kind in KINDS.items() if kind.description.orders_items and name != "session_seq"]


def canonical(found):
    """Return events in canonical order: by instant, user and session, then by item id."""
    rows = sorted(set(found), key=lambda row: (row[0], row[2] or "", row[1], row[3]))
    frame = pl.DataFrame(
        [(START + timedelta(seconds=second), session, user, item, None) for second, session, user, item in rows],
        schema={
            "ts": pl.Datetime("ns", "UTC"),
            **dict.fromkeys(("session_id", "user_id", "item_id", "event"), pl.String),
        },
        orient="row",
    )
    names = [name for name in ID_COLUMNS if name in frame.columns]
    ids = {name: frame[name].drop_nulls().unique().sort() for name in names}
    dense = [(pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in names]
    return Events(frame.with_columns(dense), ids)


def release_of(events):
    store, versions = MemoryStore(), {}
    for name in RECOMMENDING:
        kind = KINDS[name]
        rows = kind.build(events, kind.params(**UNCUT.get(name, {})), LimitSettings()).rows
        blob = encode(rows, kind=name, target=TARGET, window=Window(START.date(), START.date()), max_bytes=10**7)
        store.put(blob_key(TARGET, name, blob.ref.version), blob.data)
        versions[name] = blob.ref.version
    return load_trial(store, TARGET, versions, at=START)


def backtested(live, day, following):
    """Return the numbers of every kind and the blend, on the next day and on the day's own last part."""
    events = canonical(day)
    since = cut_day(events, held_out=0.3)
    arms = (
        (release_of(events), next_item_tasks(canonical(following), limit=2, seed=3)),
        (release_of(before(events, since)), next_item_tasks(events, limit=2, seed=3, since=since)),
    )
    old = release_of(canonical(live))
    return {
        (number, one.name): (
            *numbers_of(one.candidate),
            *numbers_of(one.live),
            *rounded(one.low, one.high),
            one.verdict,
        )
        for number, (new, tasks) in enumerate(arms)
        for one in compare(new, old, tasks, Protocol(k=3, rounds=20, min_samples=1))
    }


def rounded(*numbers):
    return [number if number is None else round(number, 9) for number in numbers]


def numbers_of(scores):
    """The numbers of an arm, but for the last digits: sums of other orders differ in them."""
    numbers = (*scores.gains.tolist(), scores.mrr, scores.hit_rate, scores.answered, scores.coverage)
    return rounded(*numbers)


@examples(25)
@given(visits, visits, visits, st.permutations(ITEMS))
def test_other_names_for_the_items_leave_every_score_as_it_is(live, day, following, names):
    assume(cut_day(canonical(day), held_out=0.3) is not None)

    def renamed(found):
        return [(*rest, names[ITEMS.index(item)]) for *rest, item in found]

    assert backtested(live, day, following) == backtested(renamed(live), renamed(day), renamed(following))
