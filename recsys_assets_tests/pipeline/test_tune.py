"""Options for neighbours on sets whose best kind is known: the winner is as good as the best."""

import json
from collections import Counter, defaultdict
from datetime import date, timedelta
from itertools import combinations
from math import log2
from random import Random
from statistics import fmean

import numpy as np
import pytest

from recsys_assets.errors import InputError
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.tune import tune
from recsys_assets.pipeline.tune_options import most_options
from recsys_assets.quality.tasks import TASK_COLUMNS, next_item_tasks
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore

FIRST, DAYS, SESSIONS = date(2026, 1, 1), 4, 80
CONFIG = b"""
[raw]
exposures = "{day}.jsonl"
[artifacts]
kinds = ["popularity", "cooc"]
[[targets]]
tenant = "shop"
surface = "home"
"""


def receipts(random):
    """Return a day of receipts, all items of one instant: a bundle, and some of what everybody buys."""
    shares = 1 / np.arange(1, 41)
    for _ in range(SESSIONS):
        bundle = random.choice(40, p=shares / shares.sum())
        items = {f"b{bundle}-{n}" for n in random.choice(4, 3, replace=False)}
        yield [sorted(items | {f"top{n}" for n in random.choice(6, 2, replace=False)})]


def walks(random):
    """Return a day of walks along a ring, mostly forward: what comes next is not what came before."""
    for _ in range(SESSIONS):
        place, walk = int(random.integers(60)), []
        for _ in range(int(random.integers(2, 6))):
            walk.append([f"i{place % 60:02}"])
            place += int(random.choice([1, 2, 17], p=[0.7, 0.2, 0.1]))
        yield walk


def write_day(folder, day, sessions):
    lines = [
        {"v": 1, "ts": f"{day}T{number // 60:02}:{number % 60:02}:{second:02}Z", "tenant": "shop", "surface": "home"}
        | {"session_id": f"{day}-{number}", "item_id": item}
        for number, session in enumerate(sessions)
        for second, step in enumerate(session)
        for item in step
    ]
    (folder / f"{day}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def build_shop(folder, world, days=DAYS):
    """Return a store with the canonical days of a world, its settings and its sessions by day."""
    settings = parse_settings(CONFIG, name="test", base=folder)
    store, random, known = MemoryStore(), np.random.default_rng(5), {}
    for day in (FIRST + timedelta(days=n) for n in range(days)):
        known[day] = list(world(random))
        write_day(folder, day, known[day])
        build_raw(store, settings, day)
        build_canonical(DayContext(store, settings, settings.targets[0], day))
    return store, settings, known


def tune_shop(store, settings, report=lambda _: None):
    return tune(store, settings, settings.targets[0], days=2, report=report)


@pytest.fixture(scope="module", params=[receipts, walks], ids=["receipts", "walks"])
def tuned(request, tmp_path_factory):
    store, settings, known = build_shop(tmp_path_factory.mktemp("shop"), request.param)
    return request.param, store, settings, known, tune_shop(store, settings)


def weights_by_hand(option, days, last):
    """Return the neighbours of each item with their weights, from the definitions alone."""
    wanted = option.params
    age = {day: (last - day).days for day in days}
    half = getattr(wanted, "half_life_days", None)
    sessions = [(0.5 ** (age[day] / half) if half else 1.0, one) for day, found in days.items() for one in found]
    support, shared, often = Counter(), Counter(), Counter()
    for weight, session in sessions:
        items = {item for step in session for item in step}
        for item in items:
            support[item] += weight
        if option.kind == "cooc":
            for pair in combinations(sorted(items), 2):
                often[pair] += 1
                shared[pair] += weight
            continue
        visits = [(place, item) for place, step in enumerate(session) for item in step]
        for (place, one), (other_place, other) in combinations(visits, 2):
            distance = other_place - place
            if one != other and distance <= 10:
                shared[one, other] += 1 / max(distance, 1)
                shared[other, one] += 0.5 / distance if distance else 1
    found = defaultdict(dict)
    for (one, other), n in shared.items():
        if option.kind == "cooc":
            if often[one, other] < wanted.min_support:
                continue
            a, b = support[one], support[other]
            plain = {"count": n, "cosine": n / (a * b) ** 0.5, "jaccard": n / (a + b - n)}[wanted.score]
            found[one][other] = found[other][one] = plain * n / (n + wanted.shrinkage)
        else:
            found[one][other] = n / support[one] / support[other] ** 0.2 if wanted.by_support else n
    return {item: dict(sorted(lists.items(), key=lambda x: (-x[1], x[0]))[:20]) for item, lists in found.items()}


def questions_of(days, store, settings):
    """Return the questions of held-out days."""
    target, found = settings.targets[0].target, {}
    for day in days:
        record = read_document(store, canonical_record_key(target, day), CanonicalRecord)
        events = read_events(store, target, day, record, columns=TASK_COLUMNS)
        found[day] = next_item_tasks(events, limit=5000, seed=1).tasks
    return found


def ndcg_by_hand(option, known, questions):
    """Return an option's nDCG on the questions of the held-out days, by ranking with shuffled ties."""
    gains, random = [], Random(11)  # noqa: S311 - seeded
    for day, tasks in questions.items():
        before = {one: known[one] for one in known if day - timedelta(days=option.params.window_days) <= one < day}
        near = weights_by_hand(option, before, day - timedelta(days=1))
        for task in tasks:
            of_task = []
            for target_item in task.targets:
                context = task.context or [[item for item in task.targets if item != target_item]]
                of_task.append(gain_of(near, context, target_item, random))
            gains.append(fmean(of_task))
    return fmean(gains)


def gain_of(near, context, wanted, random):
    weights, seen = Counter(), {item for step in context for item in step}
    for distance, step in enumerate(reversed(context[-5:]), start=1):
        for item in step:
            for other, weight in near.get(item, {}).items():
                weights[other] += weight / distance
    if wanted not in weights:
        return 0.0
    own = round(weights[wanted], 9)
    others = [round(weight, 9) for item, weight in weights.items() if item not in seen and item != wanted]
    better, equal = sum(other > own for other in others), others.count(own)
    places = [better + random.randint(0, equal) for _ in range(3)]  # among its equals it has any place
    return fmean(1 / log2(place + 2) if place < 20 else 0.0 for place in places)


def tau(first, second):
    """Return Kendall's tau of two lists of numbers; pairs within half a percent are no order."""
    signs = [
        np.sign(a - b) * np.sign(c - d)
        for (a, c), (b, d) in combinations(zip(first, second, strict=True), 2)
        if abs(a - b) > 0.005 * max(a, b)
    ]
    return sum(signs) / len(signs)


def test_the_order_of_the_options_is_that_of_an_independent_scorer(tuned):
    world, store, settings, known, found = tuned
    questions = questions_of([*known][-2:], store, settings)
    by_hand = [ndcg_by_hand(one.option, known, questions) for one in found.options]
    assert tau([one.ndcg for one in found.options], by_hand) >= 0.9
    winner = by_hand[found.options.index(found.winner)]
    assert winner >= 0.98 * max(by_hand)
    best = {"receipts": {"jaccard", "cosine"}, "walks": {None}}[world.__name__]
    assert found.winner.option.varied.get("score") in best  # rules have no score


def test_it_is_bounded_and_compares_with_what_is_configured(tuned):
    *_, found = tuned
    assert len(found.options) <= most_options()
    assert len(found.days) == 2
    (now,) = (one for one in found.options if one.option.key == found.configured.key)
    assert (now.difference, now.low, now.high) == (0, 0, 0)
    assert found.winner.is_surely_better
    assert all(one.low <= one.difference <= one.high for one in found.options)
    assert all(one.size > 0 and 0 <= one.unanswered < 1 and 0 < one.coverage <= 1 for one in found.options)


def test_a_call_that_was_stopped_goes_on_where_it_was(tmp_path):
    """Results are written once: those of the first call stand, and the numbers are those of a call in one piece."""
    store, settings, _ = build_shop(tmp_path, walks, days=3)
    before, calls = {item.key for item in store.list("")}, []

    def stop(message):
        calls.append(message)
        if len(calls) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_shop(store, settings, report=stop)
    first = {item.key: item for item in store.list("tuning/")}
    assert len(first) == 8
    whole = tune_shop(store, settings)
    now = {item.key: item for item in store.list("tuning/")}
    assert first.items() <= now.items()
    assert tune_shop(store, settings) == whole  # seconds, too: nothing was built again
    assert {item.key for item in store.list("")} == before | now.keys()


def test_one_day_cannot_be_compared(tmp_path):
    store, settings, _ = build_shop(tmp_path, walks, days=1)
    with pytest.raises(InputError, match="build two days"):
        tune_shop(store, settings)
