"""Gates: each passes at its limit, refuses beyond it, and says the number, the limit and the knob."""

from dataclasses import replace

import pytest

from recsys_assets.evidence import Finding, Verdict
from recsys_assets.gates.artifact import ArtifactFacts, judge_artifact_rows
from recsys_assets.gates.canonical import CanonicalFacts, judge_canonical_day
from recsys_assets.gates.policy import Policy

BROKEN = Finding("sorted", Verdict.REFUSED, 2, {}, "2 rows out of order", count=2, sample=({"row": 7},))

CANONICAL = Policy(
    "canonical",
    {
        "contract": {},
        "volume": {"min_events": 10},
        "bad_share": {"max_bad_share": 0.5},
        "duplicate_share": {"max_duplicate_share": 0.25},
    },
)
DAY = CanonicalFacts(digest="d", rows=10, events=12, bad=12, duplicates=3, rejects={"not_json": 12}, contract=())

ARTIFACT = Policy(
    "cooc",
    {
        "envelope": {"tenant": "shop", "surface": "home", "segment": None},
        "contract": {"min_support": 2},
        "not_empty": {"min_rows": 1},
        "size": {"max_bytes": 100},
        "days": {"min_days": 2, "window_days": 3},
        "left_out_share": {"max_left_out_share": 0.05},
    },
)
WINDOW = {"window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-02T00:00:00Z"}
BLOB = ArtifactFacts(
    version="v",
    size=100,
    rows=1,
    envelope={"tenant": "shop", "surface": "home", "segment": None, **WINDOW},
    expected_window=WINDOW,
    days=2,
    left_out_share=0.05,
    contract=(),
)


def test_a_day_at_every_limit_passes():
    report = judge_canonical_day(DAY, CANONICAL)
    assert report.passed
    assert [f.gate for f in report.findings] == list(CANONICAL.gates)
    assert (report.subject, report.version, report.policy) == ("canonical", "d", CANONICAL.digest)


@pytest.mark.parametrize(
    ("change", "gate", "message"),
    [
        pytest.param({"rows": 9}, "volume", "gates.min_events", id="too few events"),
        pytest.param({"bad": 13, "rejects": {"not_json": 13}}, "bad_share", "13 not_json", id="F28 too many bad lines"),
        pytest.param({"duplicates": 4}, "duplicate_share", "gates.max_duplicate_share", id="too many duplicates"),
        pytest.param({"contract": (BROKEN,)}, "contract", "sorted: 2 rows out of order", id="contract broken"),
    ],
)
def test_a_day_beyond_one_limit_is_refused_by_that_gate_alone(change, gate, message):
    report = judge_canonical_day(replace(DAY, **change), CANONICAL)
    assert [f.gate for f in report.refusals] == [gate]
    assert message in report.refusals[0].message
    assert not report.passed


def test_an_artifact_at_every_limit_passes():
    assert judge_artifact_rows(BLOB, ARTIFACT).passed


@pytest.mark.parametrize(
    ("change", "gate", "message"),
    [
        pytest.param(
            {"envelope": {**BLOB.envelope, "tenant": "other"}}, "envelope", "'other'", id="F20 other tenant's blob"
        ),
        pytest.param({"envelope": {**BLOB.envelope, "window_end": "x"}}, "envelope", "window_end", id="other window"),
        pytest.param({"envelope": {}}, "envelope", "None", id="no envelope"),
        pytest.param({"contract": (BROKEN,)}, "contract", "sorted", id="contract broken"),
        pytest.param({"rows": 0}, "not_empty", "gates.min_rows", id="empty"),
        pytest.param({"size": 101}, "size", "max_bytes", id="too big"),
        pytest.param({"days": 1}, "days", "min_days", id="F27 too few days"),
        pytest.param({"left_out_share": 0.051}, "left_out_share", "max_left_out_share", id="F21 too much left out"),
    ],
)
def test_an_artifact_beyond_one_limit_is_refused_by_that_gate_alone(change, gate, message):
    report = judge_artifact_rows(replace(BLOB, **change), ARTIFACT)
    assert [f.gate for f in report.refusals] == [gate]
    assert message in report.refusals[0].message


def test_the_finding_of_a_broken_contract_keeps_exact_counts_and_the_sample():
    (finding,) = judge_artifact_rows(replace(BLOB, contract=(BROKEN, BROKEN)), ARTIFACT).refusals
    assert finding.count == 4
    assert finding.sample == ({"rule": "sorted", "count": 2, "row": 7},) * 2


def test_a_report_without_findings_does_not_pass():
    assert not judge_canonical_day(DAY, Policy("canonical", {})).passed


def test_other_limits_make_another_policy():
    assert Policy("a", {"size": {"max_bytes": 1}}).digest != Policy("a", {"size": {"max_bytes": 2}}).digest
    assert Policy("a", {"x": {"p": 1, "q": 2}}).digest == Policy("a", {"x": {"q": 2, "p": 1}}).digest


def test_a_gate_that_has_no_rule_is_an_error_and_never_a_pass():
    with pytest.raises(KeyError):
        judge_canonical_day(DAY, Policy("canonical", {"unheard_of": {}}))
