"""Days of one law are not judged worse than the day before, and days of another law are: false refusals are counted."""

from datetime import UTC, date, datetime, timedelta

import pytest

from recsys_assets.encoding.codec import encode
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.quality.comparison import ComparisonVerdict, Protocol, compare
from recsys_assets.quality.tasks import before, cut_day, next_item_tasks
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.loading import load_trial
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.ring_world import RingDay, ring_events
from recsys_assets_tests.thoroughness import THOROUGH

TARGET, FIRST = Target("shop", "home"), date(2026, 1, 1)
MANY = 200 if THOROUGH else 12
SHARE, DELTA, MOST = 0.2, 0.2, 300
RECOMMENDING = ("popularity", "cooc", "implicit", "session_seq")


def snapshot(events):
    store, versions = MemoryStore(), {}
    for name in RECOMMENDING:
        kind = KINDS[name]
        rows = kind.build(events, kind.params(), LimitSettings()).rows
        blob = encode(rows, kind=name, target=TARGET, window=Window(FIRST, FIRST), max_bytes=10**8)
        store.put(blob_key(TARGET, name, blob.ref.version), blob.data)
        versions[name] = blob.ref.version
    return load_trial(store, TARGET, versions, at=datetime(2026, 1, 2, tzinfo=UTC))


def worse(candidate, live, tasks, *, delta):
    compared = compare(candidate, live, tasks, Protocol(delta=delta, min_samples=100, rounds=400))
    return {one.name for one in compared if one.verdict is ComparisonVerdict.WORSE}


def day_of(number, like=None):
    return ring_events(FIRST + timedelta(days=number), 1000 + number, like)


@pytest.mark.slow
@pytest.mark.parametrize(
    "split", [pytest.param(False, id="on the next day"), pytest.param(True, id="on its last part")]
)
def test_ordinary_days_are_not_worse_than_the_day_before(split):
    """Five recommenders a day, on either sort of held-out events: none is judged worse."""
    refused, live = {}, snapshot(day_of(0))
    for number in range(1, MANY + 1):
        day = day_of(number)
        whole = snapshot(day)
        if split:
            since = cut_day(day, held_out=SHARE)
            tasks = next_item_tasks(day, limit=MOST, seed=1, since=since)
            found = worse(snapshot(before(day, since)), live, tasks, delta=1 - (1 - DELTA) * (1 - SHARE))
        else:
            found = worse(whole, live, next_item_tasks(day_of(number + 1), limit=MOST, seed=1), delta=DELTA)
        if found:
            refused[number] = found
        live = whole
    assert refused == {}


@pytest.mark.parametrize("number", range(1, 6))
def test_days_of_another_law_are_worse_by_every_recommender(number):
    tasks = next_item_tasks(day_of(number + 1), limit=MOST, seed=1)
    found = worse(snapshot(day_of(number, RingDay(shuffled=True))), snapshot(day_of(number - 1)), tasks, delta=DELTA)
    assert found == {*RECOMMENDING, "blend"}
