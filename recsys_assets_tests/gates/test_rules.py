"""Gates: each passes at its limit, refuses beyond it, and says the number, the limit and the setting."""

import pytest
from msgspec.structs import replace

from recsys_assets.evidence import OVERRIDDEN, Finding, GateReport, Verdict
from recsys_assets.gates.artifact import ArtifactFacts, ArtifactSize, artifact_gates
from recsys_assets.gates.candidate import Backtested, Measured, backtest_gates
from recsys_assets.gates.canonical import CanonicalFacts, canonical_gates
from recsys_assets.gates.gate import Gate, Policy, in_force, undecided
from recsys_assets.kinds.cooc import CoocParams
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.gates import BacktestSettings, GateSettings, Mode
from recsys_assets.settings.settings import TargetSettings

BROKEN = Finding("sorted", Verdict.REFUSED, 2, {}, "2 rows out of order", count=2, sample=({"row": 7},))

LIMITS = GateSettings(min_events=10, max_duplicate_share=0.25, min_rows=1, max_left_out_share=0.05)
CANONICAL = Policy("canonical", in_force(canonical_gates(LIMITS, max_bad_share=0.5, max_out_of_window_share=0.3), {}))
DAY = CanonicalFacts(digest="d", rows=10, events=12, bad=12, duplicates=3, rejects={"not_json": 12}, contract=())

PARAMS = CoocParams(max_bytes=100, min_days=2, window_days=3)
ROW = TargetSettings(tenant="shop", surface="home")
ARTIFACT = Policy("cooc", in_force(artifact_gates(LIMITS, ROW, "cooc", PARAMS), {}))
WINDOW = {"window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-02T00:00:00Z"}
BLOB = ArtifactFacts(
    version="v",
    size=100,
    rows=1,
    envelope={"kind": "cooc", "tenant": "shop", "surface": "home", "segment": None, **WINDOW},
    expected_window=WINDOW,
    days=2,
    left_out_share=0.05,
    bad_catalog_share=0.0,
    bad_catalog_rows="",
    contract=(),
)


def test_a_day_at_every_limit_passes():
    report = CANONICAL.judge("d", DAY)
    assert report.passed
    assert [f.gate for f in report.findings] == list(CANONICAL.gates)
    assert (report.subject, report.version, report.policy) == ("canonical", "d", CANONICAL.digest)


@pytest.mark.parametrize(
    ("change", "gate", "message"),
    [
        pytest.param({"rows": 9}, "volume", "gates.min_events", id="too few events"),
        pytest.param({"rejects": {"out_of_window": 90}}, "out_of_window_share", "raw.spill_days = 1", id="local day"),
        pytest.param({"bad": 13, "rejects": {"not_json": 13}}, "bad_share", "13 not_json", id="F28 too many bad lines"),
        pytest.param({"duplicates": 4}, "duplicate_share", "gates.max_duplicate_share", id="too many duplicates"),
        pytest.param({"contract": (BROKEN,)}, "contract", "sorted: 2 rows out of order", id="contract broken"),
    ],
)
def test_a_day_beyond_one_limit_is_refused_by_that_gate_alone(change, gate, message):
    report = CANONICAL.judge("d", replace(DAY, **change))
    assert [f.gate for f in report.refusals] == [gate]
    assert message in report.refusals[0].message
    assert not report.passed


def test_an_artifact_at_every_limit_passes():
    assert ARTIFACT.judge("v", BLOB).passed


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
    report = ARTIFACT.judge("v", replace(BLOB, **change))
    assert [f.gate for f in report.refusals] == [gate]
    assert message in report.refusals[0].message


def test_the_finding_of_a_broken_contract_keeps_exact_counts_and_the_sample():
    (finding,) = ARTIFACT.judge("v", replace(BLOB, contract=(BROKEN, BROKEN))).refusals
    assert finding.count == 4
    assert finding.sample == ({"rule": "sorted", "count": 2, "row": 7},) * 2


def test_a_report_without_findings_does_not_pass():
    assert not Policy("canonical", {}).judge("d", DAY).passed


def test_every_limit_and_the_mode_change_the_policy():
    def digest(mode=Mode.REQUIRED, **limits):
        gates = in_force(
            canonical_gates(LIMITS.model_copy(update=limits), max_bad_share=0.5, max_out_of_window_share=0.3),
            {"volume": mode},
        )
        return Policy("canonical", gates).digest

    plain = digest()
    assert digest() == plain
    changed = [digest(min_events=9), digest(max_duplicate_share=0.3), digest(Mode.ADVISORY), digest(Mode.OFF)]
    assert len({plain, *changed}) == 5


def test_an_absent_limit_is_an_error_and_never_a_zero():
    with pytest.raises(TypeError, match="max_bytes"):
        ArtifactSize()
    with pytest.raises(TypeError):
        Gate("size", ArtifactSize(None)).judge(BLOB)


def back_test(**measured):
    found = Measured(samples=400, candidate=0.1, live=0.1, low=-0.05, high=0.05, allowed=-0.02, worse=None)
    settings = BacktestSettings(mode=Mode.REQUIRED)
    gate = backtest_gates(settings, ["cooc"], {})["backtest_cooc"]
    return gate.judge(Backtested("r" * 64, "2026-01-02", {"cooc": replace(found, **measured)}))


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        pytest.param({}, "about 2,750 sessions would decide: hold out more", id="a few more"),
        pytest.param({"allowed": -0.0101}, "sessions would decide: raise max_samples", id="more than are asked"),
        pytest.param({"candidate": 0.08}, "no number of sessions would decide: change delta", id="on the limit"),
        pytest.param({"candidate": 0.0, "live": 0.0}, "which shows nothing", id="0 against 0"),
    ],
)
def test_a_back_test_that_is_not_sure_says_what_it_would_take(measured, message):
    found = back_test(**measured)
    assert found.verdict is Verdict.ADVISED
    assert message in found.message
    assert "would decide" not in back_test(worse=True).message


def test_undecided_is_what_required_gates_advise_and_nobody_answered_for():
    advised = Finding("unsure", Verdict.ADVISED, None, {"mode": "required"}, "too little")
    others = (
        replace(advised, verdict=Verdict.PASSED),
        replace(advised, verdict=Verdict.REFUSED),
        replace(advised, params={"mode": "advisory"}),
        replace(advised, params={"mode": "required", OVERRIDDEN: "ann: as it should be"}),
    )
    assert undecided(GateReport("canonical", "d", (*others, advised))) == (advised,)


def test_weights_of_events_are_part_of_the_policy():
    weighed = [KINDS["implicit"].params(weights={"click": weight}) for weight in (1.0, 2.0)]
    policies = [Policy("implicit", in_force(artifact_gates(LIMITS, ROW, "implicit", one), {})) for one in weighed]
    assert len({policy.digest for policy in policies}) == 2
