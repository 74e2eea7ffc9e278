"""The gates of one artifact: envelope, contract, emptiness, size, days in the window, the share left out, and drift."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from recsys_assets.evidence import Finding, GateReport, Scalar
from recsys_assets.gates.drift import DRIFT_RULES, NoBaseline
from recsys_assets.gates.drift_distance import Drift
from recsys_assets.gates.grading import graded
from recsys_assets.gates.policy import Policy
from recsys_assets.gates.rules import at_least, at_most, merged, same


@dataclass(frozen=True, slots=True)
class ArtifactFacts:
    """What an artifact is judged by: read from the stored bytes, but for the counts that only the build knows."""

    version: str
    size: int
    rows: int
    envelope: Mapping[str, Scalar]  # tenant, surface, segment, window_start, window_end as they stand in the blob
    expected_window: Mapping[str, Scalar]  # window_start, window_end that the day asks for
    days: int  # days of the window that had a canonical day
    left_out_share: float
    contract: tuple[Finding, ...]
    drift: Drift | NoBaseline = field(default_factory=NoBaseline)  # from the live release


def judge_artifact_rows(facts: ArtifactFacts, policy: Policy) -> GateReport:
    """Return one finding per gate of the policy, in its order; a gate without a rule here is an error, never a pass."""
    findings = tuple(
        DRIFT_RULES[gate](facts.drift, params) if gate in DRIFT_RULES else graded(_RULES[gate](facts, params), params)
        for gate, params in policy.gates.items()
    )
    return GateReport(policy.subject, facts.version, findings, policy=policy.digest)


def _envelope(facts: ArtifactFacts, params: Mapping[str, Scalar]) -> Finding:
    expected = {**params, **facts.expected_window}
    return same("envelope", dict(facts.envelope), expected=expected, what="the artifact's envelope")


def _contract(facts: ArtifactFacts, params: Mapping[str, Scalar]) -> Finding:
    return merged("contract", facts.contract, params=dict(params), what="the artifact")


def _not_empty(facts: ArtifactFacts, params: Mapping[str, Scalar]) -> Finding:
    return at_least(
        "not_empty", facts.rows, limit=float(params["min_rows"] or 0), setting="gates.min_rows", what="number of rows"
    )


def _size(facts: ArtifactFacts, params: Mapping[str, Scalar]) -> Finding:
    return at_most("size", facts.size, limit=float(params["max_bytes"] or 0), setting="max_bytes", what="size in bytes")


def _days(facts: ArtifactFacts, params: Mapping[str, Scalar]) -> Finding:
    what = f"number of days with events among the window's {params['window_days']}"
    return at_least("days", facts.days, limit=float(params["min_days"] or 0), setting="min_days", what=what)


def _left_out_share(facts: ArtifactFacts, params: Mapping[str, Scalar]) -> Finding:
    return at_most(
        "left_out_share",
        facts.left_out_share,
        limit=float(params["max_left_out_share"] or 0),
        setting="gates.max_left_out_share",
        what="share of sessions or users left out as over-long or over-active",
    )


_RULES: Mapping[str, Callable[[ArtifactFacts, Mapping[str, Scalar]], Finding]] = {
    "envelope": _envelope,
    "contract": _contract,
    "not_empty": _not_empty,
    "size": _size,
    "days": _days,
    "left_out_share": _left_out_share,
}
