"""Guard of a rollout: harmful candidates end, harmless ones go on, however often anybody looks."""

import random
from math import log

import msgspec
import numpy as np
import pytest

from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollout import Plan, RolloutState, find_rollout
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.heartbeats import ArmAnswers, Heartbeat, KindAnswers, TrialAnswers, write_heartbeat
from recsys_assets.upkeep.rollout_guard import (
    FALSE_ABORTS,
    RolloutLimits,
    RolloutVerdict,
    carry_out,
    decide,
    log_evidence,
)
from recsys_assets_tests.release.staging import TARGET, Shop

BOT = Actor("guard", "rollout")
PLAN = Plan(steps=(5, 25, 100), bake_minutes=60)
ROLLOUTS, LOOKS = 1000, 100
HOURLY = 500  # requests of a small site between two looks, of which the candidate answers 5 %


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    shop.ship(0)
    shop.ship(1, plan=PLAN)
    return shop


def arm(asked, empty=0, *, keys=None, **results):
    keys = asked if keys is None else keys
    return ArmAnswers(requests=asked, keys=keys, kinds={"cooc": KindAnswers(asked=asked, empty=empty, **results)})


def beat(shop, control, candidate, *, consumer="web-1", **change):
    trial = TrialAnswers(release=find_rollout(shop.store, TARGET).release, control=control, candidate=candidate)
    heartbeat = Heartbeat(
        consumer=consumer,
        release=read_current(shop.store, TARGET).release_id,
        state="fresh",
        seen_at=shop.clock().isoformat().replace("+00:00", "Z"),
        every_seconds=600,
        nonce=f"{random.random()}",  # noqa: S311 - never twice, no secret
        trial=msgspec.structs.replace(trial, **change),
        v=2,
    )
    write_heartbeat(shop.store, TARGET, heartbeat, expected=None)


def decision(shop, guards=RolloutLimits(min_requests=1000)):  # noqa: B008 - a frozen value
    return decide(shop.store, TARGET, guards, by=BOT, now=shop.clock)


def act(shop):
    return carry_out(shop.store, TARGET, decision(shop), by=BOT, now=shop.clock)


def baked(shop):
    shop.clock.at += shop.clock.step * 61


def test_a_harmless_candidate_is_promoted_step_by_step_by_itself(shop):
    release = find_rollout(shop.store, TARGET).release
    for _ in range(2):
        assert decision(shop).verdict is RolloutVerdict.WAIT
        baked(shop)
        beat(shop, arm(20_000, 100), arm(2_000, 11))
        act(shop)
    assert read_current(shop.store, TARGET).release_id == release
    assert decision(shop).verdict is RolloutVerdict.NOTHING
    assert act(shop) is None


def test_a_candidate_that_answers_empty_ends_by_itself_and_live_never_moves(shop):  # F70
    live, release = read_current(shop.store, TARGET), find_rollout(shop.store, TARGET).release
    beat(shop, arm(20_000, 100), arm(1_000, 200))
    act(shop)
    assert find_rollout(shop.store, TARGET).state is RolloutState.ABORTED
    assert read_current(shop.store, TARGET) == live
    reason = find_label(shop.store, TARGET, Labelled.BAD, release).reason
    assert "cooc: 20.00% of 1,000 answers empty, live 0.50% of 20,000" in reason


def test_too_few_answers_wait_or_advance_as_configured(shop):
    baked(shop)
    beat(shop, arm(900), arm(50))
    assert "50 requests" in decision(shop).why
    assert decision(shop).verdict is RolloutVerdict.WAIT
    assert decision(shop, RolloutLimits(min_requests=1000, advance_unasked=True)).verdict is RolloutVerdict.ADVANCE


def test_a_consumer_that_cannot_load_the_candidate_ends_it_and_a_silent_one_does_not(shop):
    beat(shop, arm(0), arm(0), release=None, fault="cooc is damaged")
    assert "cooc is damaged" in decision(shop).why
    assert decision(shop).verdict is RolloutVerdict.ABORT
    shop.clock.at += shop.clock.step * 45
    assert decision(shop).verdict is RolloutVerdict.WAIT


def test_counts_of_an_earlier_rollout_say_nothing_of_this_one(shop):
    beat(shop, arm(20_000, 100), arm(1_000, 900), release="f" * 64)
    assert decision(shop).verdict is RolloutVerdict.WAIT


def test_one_user_who_asks_a_thousand_times_is_one(shop):
    beat(shop, arm(20_000, 100), arm(1_000, 400, keys=3))
    assert decision(shop).verdict is RolloutVerdict.WAIT
    beat(shop, arm(20_000, 100), arm(1_000, 400))
    assert decision(shop).verdict is RolloutVerdict.ABORT


def timed(asked, **slower):
    """An arm of which every lookup was timed: within 50 us, but for those that took up to 10 or 100 ms."""
    ms = {f"up_to_{n}": slower.get(f"up_to_{n}", 0) for n in (10, 100)}
    times = (0, 0, 0, asked - sum(ms.values()), 0, 0, 0, ms["up_to_10"], ms["up_to_100"], 0, 0)
    return arm(asked, times=times)


@pytest.mark.parametrize(
    ("live", "candidate", "verdict"),
    [
        pytest.param({}, {"up_to_100": 60}, RolloutVerdict.ABORT, id="p99 from 50 us to 100 ms"),
        pytest.param({}, {"up_to_10": 60}, RolloutVerdict.ABORT, id="p99 from 50 us to 10 ms"),
        pytest.param(
            {"up_to_10": 40}, {"up_to_100": 60}, RolloutVerdict.WAIT, id="p99 worse by less than a whole step"
        ),
        pytest.param({}, {"up_to_100": 8}, RolloutVerdict.WAIT, id="p99 within a hundredth"),
        pytest.param({"up_to_100": 60}, {"up_to_100": 60}, RolloutVerdict.WAIT, id="as slow as live"),
    ],
)
def test_a_candidate_whose_slowest_answers_are_slower_ends(shop, live, candidate, verdict):
    beat(shop, timed(2000, **live), timed(1000, **candidate))
    assert decision(shop).verdict is verdict
    if verdict is RolloutVerdict.ABORT:
        assert "answers slower than" in decision(shop).why


def test_a_difference_that_is_real_and_tiny_ends_nothing(shop):
    beat(shop, arm(10**8, 10**5), arm(10**8, 3 * 10**5))
    assert decision(shop).rates[0].evidence > 1000
    assert decision(shop).verdict is RolloutVerdict.WAIT


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 1.0])
def test_the_evidence_against_a_true_hypothesis_is_at_most_one_on_average(share):
    """By every possible outcome of a small experiment, weighted by how likely it is."""
    n, m = 6, 5
    chance = [[np.exp(_log_chance(x, of, share)) for x in range(of + 1)] for of in (n, m)]
    total = sum(chance[0][x] * chance[1][y] * np.exp(_whole(x, n, y, m)) for x in range(n + 1) for y in range(m + 1))
    assert total <= 1 + 1e-9


def _log_chance(x, of, share):
    if share in {0.0, 1.0}:
        return 0.0 if x == of * share else -np.inf
    ways = sum(log(of - k) - log(k + 1) for k in range(x))
    return ways + x * log(share) + (of - x) * log(1 - share)


def _whole(x, n, y, m):
    """The evidence, and nothing where the candidate is not worse: there it is never compared with a limit."""
    found = log_evidence((x, n), (y, m))
    return found if y * n > x * m else -np.inf


@pytest.mark.parametrize(
    ("live", "candidate", "least", "most"),
    [
        pytest.param(0.02, 0.02, 0, FALSE_ABORTS, id="neutral"),
        pytest.param(0.02, 0.015, 0, FALSE_ABORTS, id="better"),
        pytest.param(0.3, 0.3, 0, FALSE_ABORTS, id="neutral, where a third is unknown"),
        pytest.param(0.02, 0.10, 0.99, 1, id="harmful"),
    ],
)
def test_of_a_thousand_rollouts_looked_at_a_hundred_times(live, candidate, least, most):
    chance = np.random.default_rng(7)
    asked = np.cumsum(chance.binomial(HOURLY, 0.05, (ROLLOUTS, LOOKS)), axis=1)
    others = np.arange(1, LOOKS + 1) * HOURLY - asked
    bad = np.cumsum(chance.binomial(np.diff(asked, prepend=0), candidate), axis=1)
    bad_live = np.cumsum(chance.binomial(np.diff(others, prepend=0), live), axis=1)
    limit = log(1 / FALSE_ABORTS)
    ended = sum(
        any(
            log_evidence((int(bad_live[r, k]), int(others[r, k])), (int(bad[r, k]), int(asked[r, k]))) >= limit
            for k in range(0, LOOKS, 4)
        )
        for r in range(ROLLOUTS)
    )
    assert least <= ended / ROLLOUTS <= most
