"""Drift gates in a world whose law of the next item is known: ordinary days pass, spoilt ones are refused by name."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given

from recsys_assets.encoding.rows import Rows
from recsys_assets.events.events import Events
from recsys_assets.evidence import Verdict
from recsys_assets.gates.drift import NoBaseline, drift_gates
from recsys_assets.gates.drift_distance import Baseline, Drift, item_strengths, measure_drift
from recsys_assets.gates.gate import in_force
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.gates import DriftGate, DriftLimits, DriftSettings, Mode
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import event_rows, events_of, row
from recsys_assets_tests.thoroughness import THOROUGH, examples

ITEMS, SESSIONS, LENGTH, DAYS = 200, 300, 5, 200 if THOROUGH else 60
RELEASE = "a" * 64
# Tight enough to see quality, from days that the tests do not use (seeds 1000 to 1199): rank correlation there is at
# least 0.43, overlap 0.62, churn at most 0.49, the rise of Gini 0.07, the factor of rows 1.15.
STRICT = {
    "popularity": DriftLimits(
        mode=Mode.REQUIRED, max_rows_factor=1.5, min_overlap=0.5, min_rank_correlation=0.3, max_gini_rise=0.1
    ),
    "cooc": DriftLimits(mode=Mode.REQUIRED, max_rows_factor=1.5, max_churn=0.9, max_unknown_share=0.2),
}


def coded(sessions: Any, items: Any, ids: list[str]) -> Events:
    return Events(
        pl.DataFrame({"session_id": sessions.astype(np.uint32), "item_id": items.astype(np.uint32)}),
        {"item_id": pl.Series(ids), "session_id": pl.Series([f"s{n:05}" for n in range(SESSIONS * 2)])},
    )


def world(seed: int, *, sessions: int = SESSIONS, spoil: str = "", prefix: str = "i") -> Events:
    """Return a day: a session starts by Zipf's law and goes on to the next item of a ring, now and then to any."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, ITEMS + 1)
    places = np.empty((sessions, LENGTH), np.int64)
    places[:, 0] = random.choice(ITEMS, sessions, p=shares / shares.sum())
    for step in range(1, LENGTH):
        leaps = random.random(sessions) < 0.1
        places[:, step] = np.where(leaps, random.integers(0, ITEMS, sessions), (places[:, step - 1] + 1) % ITEMS)
    if spoil == "shuffled":
        places = np.random.default_rng(0).permutation(ITEMS)[places]
    ids = [f"{prefix}{n:04}" for n in range(ITEMS)]
    return coded(np.repeat(np.arange(sessions), LENGTH), places.ravel(), ids)


def with_bot(seed: int) -> Events:
    """Return a day in which a robot looks at one item as often as everybody else at all."""
    day, clicks = world(seed), SESSIONS * LENGTH * 3
    bot = pl.DataFrame({"session_id": np.full(clicks, SESSIONS), "item_id": np.full(clicks, 150)}).cast(pl.UInt32)
    return Events(pl.concat([day.codes, bot]), day.ids)


def rows_of(kind: str, events: Events) -> Rows:
    return KINDS[kind].build(events, KINDS[kind].params(), LimitSettings()).rows


def baseline(rows: Rows, catalog: pl.Series | None = None) -> Baseline:
    return Baseline(RELEASE, rows, item_strengths(rows)["item_id"] if catalog is None else catalog)


@cache
def live(kind: str) -> Baseline:
    return baseline(rows_of(kind, world(1)), pl.Series([f"i{n:04}" for n in range(ITEMS)]))


@dataclass(frozen=True)
class Facts:
    drift: Drift | NoBaseline


def judged(rows: Rows, against: Baseline, limits: DriftLimits):
    drift = measure_drift(rows, against, top_items=limits.top_items)
    return [gate.judge(Facts(drift)) for gate in in_force(drift_gates(limits), {}).values()]


def refused(kind: str, events: Events) -> set[str]:
    return {f.gate for f in judged(rows_of(kind, events), live(kind), STRICT[kind]) if not f.ok}


@pytest.mark.parametrize("kind", STRICT)
def test_ordinary_days_are_not_refused(kind):
    false_refusals = {seed: found for seed in range(2, 2 + DAYS) if (found := refused(kind, world(seed)))}
    assert false_refusals == {}


@pytest.mark.parametrize("kind", STRICT)
def test_ordinary_days_are_not_even_advised_by_the_defaults(kind):
    verdicts = {
        finding.verdict
        for seed in range(2, 22)
        for finding in judged(rows_of(kind, world(seed)), live(kind), DriftLimits())
    }
    assert verdicts == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("kind", "events", "gate"),
    [
        pytest.param("popularity", world(2, spoil="shuffled"), DriftGate.RANK, id="labels shuffled"),
        pytest.param("popularity", world(2, spoil="shuffled"), DriftGate.OVERLAP, id="labels shuffled, by the top"),
        pytest.param("cooc", world(2, spoil="shuffled"), DriftGate.CHURN, id="labels shuffled, by neighbours"),
        pytest.param("cooc", world(2, sessions=SESSIONS // 3), DriftGate.ROWS, id="F27 a part of a day"),
        pytest.param("popularity", with_bot(2), DriftGate.GINI, id="a robot on one item"),
        pytest.param("cooc", world(2, prefix="other"), DriftGate.UNKNOWN, id="F20 another tenant's events"),
        pytest.param("cooc", world(2, prefix="i9"), DriftGate.COVERAGE, id="a catalog that has gone"),
    ],
)
def test_a_spoilt_day_is_refused_by_the_gate_that_sees_it(kind, events, gate):
    assert gate in refused(kind, events)


@pytest.mark.parametrize("kind", ["popularity", "cooc"])
def test_what_is_as_it_was_keeps_the_strictest_limits(kind):
    limits = DriftLimits(
        max_rows_factor=1,
        max_items_factor=1,
        min_overlap=1,
        min_rank_correlation=0.999,
        max_churn=0,
        min_coverage_ratio=1,
        max_gini_rise=0,
        max_unknown_share=0,
    )
    same = baseline(live(kind).rows)
    assert {found.verdict for found in judged(same.rows, same, limits)} == {Verdict.PASSED}


@pytest.mark.parametrize("mode", list(Mode))
def test_the_mode_says_what_becomes_of_a_number_over_its_limit(mode):
    limits = STRICT["popularity"].model_copy(update={"mode": mode})
    verdicts = {f.gate: f.verdict for f in judged(rows_of("popularity", with_bot(2)), live("popularity"), limits)}
    expected = {Mode.ADVISORY: Verdict.ADVISED, Mode.REQUIRED: Verdict.REFUSED, Mode.OFF: None}
    assert verdicts.get("drift_gini") == expected[mode]


def test_a_single_number_is_required_or_off_whatever_the_mode_says():
    limits = DriftLimits(required=frozenset({DriftGate.GINI}), off=frozenset({DriftGate.ROWS}))
    gates = in_force(drift_gates(limits), {})
    assert "drift_rows" not in gates
    assert {name: gate.mode for name, gate in gates.items() if gate.mode is not Mode.ADVISORY} == {
        "drift_gini": Mode.REQUIRED
    }


def test_a_finding_names_the_number_the_limit_and_the_live_release():
    found = judged(rows_of("popularity", with_bot(2)), live("popularity"), STRICT["popularity"])
    (gini,) = [f for f in found if f.gate == "drift_gini"]
    assert isinstance(gini.value, float)
    assert f"{gini.value:.4g}" in gini.message
    assert "max_gini_rise is 0.1" in gini.message
    assert RELEASE[:12] in gini.message
    assert gini.params == {"mode": "required", "max_gini_rise": 0.1, "live_release": RELEASE}


@pytest.mark.parametrize(
    ("fault", "mode", "verdict", "message"),
    [
        pytest.param(None, "required", Verdict.PASSED, "no baseline", id="first release"),
        pytest.param("torn", "required", Verdict.REFUSED, "torn", id="F13 live is damaged, required"),
        pytest.param("torn", "advisory", Verdict.ADVISED, "torn", id="F13 live is damaged, advisory"),
    ],
)
def test_without_a_baseline_the_first_release_passes_and_a_damaged_one_is_reported(fault, mode, verdict, message):
    finding = drift_gates(DriftLimits(mode=mode))[0].judge(Facts(NoBaseline(fault)))
    assert (finding.verdict, finding.value) == (verdict, None)
    assert message in finding.message


def test_numbers_of_rows_that_can_be_counted_by_hand():
    before = rows_of("popularity", events_of([row(n, None, "s", item) for n, item in enumerate("aaabbc")]))
    after = rows_of("popularity", events_of([row(n, None, "s", item) for n, item in enumerate("abbccd")]))
    drift = measure_drift(after, baseline(before, pl.Series(["a", "b", "c", "e"])), top_items=2)
    assert (drift.rows.candidate, drift.rows.live) == (4, 3)
    assert drift.overlap == 0.5  # b of a, b
    assert drift.rank_correlation == pytest.approx(-0.8660254)
    assert drift.unknown_share == 0.25  # d
    assert (drift.coverage.candidate, drift.coverage.live) == (0.75, 0.75)
    assert drift.gini.live == pytest.approx(2 / 9)
    assert drift.churn is None


def test_churn_counts_the_members_of_lists_that_both_have():
    def neighbors(*sessions: str) -> Rows:
        rows = [row(n, f"u{n}", f"s{n}", item) for n, session in enumerate(sessions * 2) for item in session]
        return rows_of("cooc", events_of(rows))

    drift = measure_drift(neighbors("ab", "xy"), baseline(neighbors("ab", "ac")), top_items=9)
    assert drift.churn == pytest.approx(1 / 3)  # (a, b), (b, a) stay, (a, c) goes; x, y and c have no list on one side


@pytest.mark.parametrize("kind", ["cooc", "implicit", "session_seq"])
@examples(50)
@given(before=event_rows, after=event_rows)
def test_churn_is_the_jaccard_distance_of_pairs_over_shared_keys(kind, before, after):
    live, made = (rows_of(kind, events_of(rows)) for rows in (before, after))
    sides = [rows.frame()[:, :2].rows() for rows in (live, made)]
    shared = {key for key, _ in sides[0]} & {key for key, _ in sides[1]}
    left, right = ({(key, member) for key, member in side if key in shared and member} for side in sides)
    expected = 1 - len(left & right) / len(left | right) if left | right else None
    assert measure_drift(made, baseline(live), top_items=5).churn == expected


@pytest.mark.parametrize("kind", ["popularity", "cooc", "implicit", "session_seq"])
@examples(50)
@given(rows=event_rows)
def test_rows_do_not_drift_from_themselves(kind, rows):
    made = rows_of(kind, events_of(rows))
    drift = measure_drift(made, baseline(made), top_items=5)
    assert drift.rows.factor == drift.items.factor == 1
    assert drift.overlap in {None, 1.0}
    assert drift.rank_correlation is None or drift.rank_correlation == pytest.approx(1)
    assert drift.churn in {None, 0.0}
    assert drift.unknown_share in {None, 0.0}
    assert 0 <= drift.gini.candidate < 1


def test_a_kind_overrides_single_keys_of_all_kinds():
    settings = DriftSettings.model_validate({"max_churn": 0.5, "kinds": {"cooc": {"mode": "required"}}})
    assert settings.of_kind("cooc") == DriftLimits(mode=Mode.REQUIRED, max_churn=0.5)
    assert settings.of_kind("implicit") == DriftLimits(max_churn=0.5)
