"""Outcomes against simulations with known truth: intervals cover it, and decisions are wrong as seldom as they say."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from recsys_assets.identity import tag_request
from recsys_assets.quality.exposures import (
    Exposures,
    FeedbackNames,
    OutcomeRules,
    RolloutStep,
    find_exposures,
    judge_rollouts,
    rates,
)
from recsys_assets.quality.outcome_report import ALL, OutcomeVerdict
from recsys_assets.serving.trial import part_of
from recsys_assets_tests.thoroughness import THOROUGH

LIVE, CANDIDATE = "1" * 64, "2" * 64
START = datetime(2026, 3, 1, tzinfo=UTC)
RULES = OutcomeRules()
STEPS = [
    RolloutStep(CANDIDATE, LIVE, 5, START, START + timedelta(hours=6)),
    RolloutStep(CANDIDATE, LIVE, 25, START + timedelta(hours=6), None),
]
SIMULATIONS = 120 if THOROUGH else 60


def event(minute, key, request, item, kind=None, visitor="new"):
    return (START + timedelta(minutes=minute), key, visitor, request, item, kind)


def frame(*events):
    columns = ["ts", "key", "visitor", "request_id", "item_id", "event"]
    return pl.DataFrame(events, schema=columns, orient="row").cast({"ts": pl.Datetime("ns", "UTC"), "event": pl.String})


def test_clicks_and_purchases_belong_to_the_exposure_of_their_request_and_item():
    a, b = tag_request(LIVE, "cooc", "a"), tag_request(CANDIDATE, "implicit", "b")
    events = frame(
        event(0, "ann", a, "i1", "impression"),
        event(0, "ann", a, "i2"),
        event(1, "ann", a, "i2", "click"),
        event(2, "ann", a, "i2", "click"),  # twice is once
        event(3, "bob", b, "i2", "impression", visitor="anonymous"),
        event(4, "bob", b, "i2", "purchase", visitor="anonymous"),
        event(5, "bob", b, "i9", "click"),  # of nothing that was shown
        event(6, "bob", "r-7", "i1", "impression"),  # says no release
        event(7, "bob", None, "i1", "impression"),
    )
    found = find_exposures(events.sample(fraction=1, shuffle=True, seed=3), FeedbackNames())
    assert (len(found.frame), found.untagged, found.unmatched) == (3, 2, 1)
    rows = {(row.release[0], row.kind, row.visitor): row for row in rates(found, RULES)}
    assert (rows["1", "cooc", "new"].click.hits, rows["1", "cooc", "new"].click.of) == (1, 2)
    assert (rows["2", "", ALL].purchase.rate, rows["2", "", ALL].click.rate) == (1.0, 0.0)
    assert rows["2", "", ALL].purchase.low < 0.4, "one person says little"
    assert set(rows) == {
        *((release, kind, who) for release, kind, visitor in (("1", "cooc", "new"), ("2", "implicit", "anonymous"))
          for kind in ("", kind) for who in (ALL, visitor)),
    }  # fmt: skip


def world(seed, *, keys=2000, live=0.10, candidate=0.10, broken=False):
    """Exposures of people with tastes of their own, each on the side that a service would have drawn."""
    chance = np.random.default_rng(seed)
    names = [f"user-{seed}-{n}" for n in range(keys)]
    parts = np.array([part_of(CANDIDATE, name) for name in names])
    shown = chance.geometric(0.2, keys)
    taste = chance.beta(2, 18, keys) / 0.1  # one on average
    who = np.repeat(np.arange(keys), shown)
    minutes = chance.uniform(10, 24 * 60, len(who))
    share = np.where(minutes < 6 * 60, 500, 2500)
    of_candidate = parts[who] < share
    hour = 0.7 + 0.6 * minutes / 1440  # later people click more: the share grows meanwhile
    clicked = chance.random(len(who)) < np.where(of_candidate, candidate, live) * taste[who] * hour
    kept = np.full(len(who), fill_value=True) if not broken else ~(of_candidate & (parts[who] % 7 < 3))
    frame = pl.DataFrame(
        {
            "ts": (np.datetime64("2026-03-01T00:00:00", "ns") + (minutes * 60e9).astype("timedelta64[ns]")),
            "key": np.array(names)[who],
            "visitor": np.where(who % 2, "new", "returning"),
            "release": np.where(of_candidate, CANDIDATE[:16], LIVE[:16]),
            "kind": np.where(who % 3, "cooc", ""),
            "click": clicked,
            "purchase": clicked & (chance.random(len(who)) < 0.2),
        }
    )
    return Exposures(frame.with_columns(pl.col("ts").dt.replace_time_zone("UTC")).filter(kept), 0, 0)


@cache
def verdicts(simulations=SIMULATIONS, **truth):
    return [judge_rollouts(world(seed, **truth), STEPS, RULES)[0] for seed in range(simulations)]


def test_intervals_cover_the_true_difference_as_often_as_they_say():
    covered = [one.differences[0].low <= 0 <= one.differences[0].high for one in verdicts()]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_intervals_of_rates_cover_the_truth_though_people_are_alike():
    rows = [
        rates(Exposures(world(seed, keys=400).frame.filter(~pl.col("kind").is_null()), 0, 0), RULES)
        for seed in range(SIMULATIONS)
    ]
    of_live = [
        next(row.click for row in found if (row.release[0], row.kind, row.visitor) == ("1", "", ALL)) for found in rows
    ]
    truth = np.mean([one.rate for one in of_live])
    assert 0.90 <= np.mean([one.low <= truth <= one.high for one in of_live]) <= 0.99


def test_a_harmless_candidate_fails_as_seldom_as_the_level_says_and_a_harmful_one_does():
    assert np.mean([one.verdict is OutcomeVerdict.FAIL for one in verdicts()]) <= 0.05
    harmful = verdicts(25, candidate=0.05)
    assert np.mean([one.verdict is OutcomeVerdict.FAIL for one in harmful]) >= 0.95
    assert "click rate" in harmful[0].why
    assert np.mean([one.verdict is OutcomeVerdict.SHIP for one in verdicts(25, candidate=0.18)]) >= 0.95


def test_a_ratio_of_keys_that_no_chance_explains_holds_whatever_the_rates_say():
    alarms = [one.probability * 2 < 0.001 for found in verdicts() for one in found.steps]
    assert np.mean(alarms) <= 0.01
    broken = [judge_rollouts(world(seed, candidate=0.18, broken=True), STEPS, RULES)[0] for seed in range(3)]
    assert {one.verdict for one in broken} == {OutcomeVerdict.HOLD}
    assert "which is not chance" in broken[0].why


OTHER_KEYS = (pl.int_range(pl.len()) % 500).cast(pl.String)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda one: one.head(300), "are required", id="few keys"),
        pytest.param(lambda one: one.with_columns(key=OTHER_KEYS), "by both releases", id="another key"),
        pytest.param(lambda one: one.filter(pl.col("release") == LIVE[:16]), "not chance", id="one side alone"),
    ],
)
def test_what_cannot_be_judged_holds(change, why):  # F74
    (found,) = judge_rollouts(Exposures(change(world(1, keys=3000).frame), 0, 0), STEPS, RULES)
    assert (found.verdict, why in found.why) == (OutcomeVerdict.HOLD, True), found.why


def test_without_exposures_of_a_rollout_nothing_is_said_of_it():
    assert judge_rollouts(Exposures(world(1).frame.clear(), 0, 0), STEPS, RULES) == ()
