"""Score of live on a day: a brute force in plain Python agrees, and broken days leave no more than chance."""

from collections import defaultdict
from math import log2

import numpy as np
import polars as pl
import pytest

from recsys_assets.events.events import Events
from recsys_assets.kinds.registry import KINDS
from recsys_assets.quality import live_score
from recsys_assets.quality.live_score import score_live, visits_of
from recsys_assets.settings.inputs import LimitSettings

ITEMS = 60


def day(seed, sessions=400, *, names=lambda item: f"i{item:02}", shuffled=False):
    """Return sessions of steps of one or two along a ring of items, each of a user with a region of it."""
    random = np.random.default_rng(seed)
    rows = []
    for session in range(sessions):
        user = int(random.integers(100))
        item = int(user * 7 % ITEMS + random.integers(4))
        for _ in range(int(random.integers(2, 7))):
            rows.append((f"s{session:04}", f"u{user:02}", item % ITEMS))
            item += int(random.integers(1, 3))
    items = [item for _, _, item in rows]
    if shuffled:
        random.shuffle(items)
    frame = pl.DataFrame(
        [(session, user, names(item)) for (session, user, _), item in zip(rows, items, strict=True)],
        schema={"session_id": pl.String, "user_id": pl.String, "item_id": pl.String},
        orient="row",
    ).with_row_index("ts")
    ids = {name: frame[name].unique().sort() for name in ("session_id", "user_id", "item_id")}
    codes = frame.select("ts", *((pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in ids))
    return Events(codes.with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC"))), ids)


def rows_of(kind, events):
    return KINDS[kind].build(events, KINDS[kind].params(), LimitSettings()).rows


LIVE = day(1)


def asked(kind, events, **options):
    return score_live(visits_of(events), rows_of(kind, LIVE), window_days=1, age_days=1, **options)


def brute_force(events):
    """Return the mean gain of cooc's lists and of chance, in plain Python."""
    lists = defaultdict(list)
    frame = rows_of("cooc", LIVE).frame()
    for key, member in frame.select(frame.columns[:2]).iter_rows():
        lists[key].append(member)
    sessions = defaultdict(list)
    for session, item in events.decoded().select("session_id", "item_id").iter_rows():
        if item not in sessions[session]:
            sessions[session].append(item)
    pairs = [
        (seen[first], seen[second])
        for seen in sessions.values()
        for first in range(len(seen))
        for second in range(first + 1, min(first + 6, len(seen)))
        if seen[first] in lists
    ]

    def gain(key, answer):
        found = lists[key][:20]
        return 1 / log2(found.index(answer) + 2) if answer in found else 0.0

    chance = np.mean([np.mean([gain(key, other) for _, other in pairs]) for key, _ in pairs[:200]])
    return np.mean([gain(*pair) for pair in pairs]), chance, len(pairs)


def test_gains_are_those_of_a_brute_force():
    found = asked("cooc", day(2))
    gain, chance, answered = brute_force(day(2))
    assert found.answered == answered
    assert found.gain == pytest.approx(gain, abs=1e-6)
    assert found.chance == pytest.approx(chance, rel=0.1)


@pytest.mark.parametrize("kind", ["cooc", "implicit", "item_seq", "sequential_rules"])
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"names": lambda item: f"i{item * 37 % ITEMS:02}"}, id="shuffled ids"),
        pytest.param({"names": lambda item: f"x{item}"}, id="renamed ids"),
        pytest.param({"shuffled": True}, id="shuffled rows"),
    ],
)
def test_broken_days_leave_no_more_than_chance(kind, broken):  # F63
    usual, found = asked(kind, day(2)), asked(kind, day(2, **broken))
    assert usual.lift > 0.1
    assert usual.by_user is (kind == "implicit")
    assert found.lift < 0.15 * usual.lift


def test_a_popular_list_is_held_against_the_days_own_items():
    ranked = rows_of("popularity", LIVE)
    order = ranked.member_ids.gather(pl.Series(ranked.members)).to_list()
    inverted = dict(zip(order, reversed(order), strict=True))
    usual = asked("popularity", LIVE)
    found = asked("popularity", day(1, names=lambda item: inverted.get(f"i{item:02}", f"i{item:02}")))
    assert usual.one_list
    assert usual.lift > 0 > found.lift


def test_a_large_day_asks_a_sample_of_its_sessions(monkeypatch):
    every = asked("cooc", day(2))
    monkeypatch.setattr(live_score, "MAX_EVENTS", 400)
    some = asked("cooc", day(2))
    assert some.questions < every.questions / 2
    assert some.gain == pytest.approx(every.gain, abs=4 * some.error)


def test_rows_that_rank_no_items_have_no_score():
    catalog = pl.DataFrame({"item_id": ["i00"], "tags": [["t"]]})
    built = KINDS["content_sim"].build(catalog, KINDS["content_sim"].params(), LimitSettings())
    assert score_live(visits_of(day(2)), built.rows, window_days=1, age_days=1) is None


def test_a_day_of_nobody_has_no_question_for_users():
    nobody = day(2)
    events = Events(nobody.codes.with_columns(pl.lit(None, pl.UInt32).alias("user_id")), nobody.ids)
    found = asked("implicit", events)
    assert (found.questions, found.answered, found.gain, found.error) == (0, 0, 0.0, 0.0)
