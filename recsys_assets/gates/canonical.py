"""The gates of a canonical day: its contract, its volume, and the shares of bad lines and of duplicates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recsys_assets.evidence import Finding, GateReport, Scalar
from recsys_assets.gates.grading import graded
from recsys_assets.gates.policy import Policy
from recsys_assets.gates.rules import at_least, at_most, merged


@dataclass(frozen=True, slots=True)
class CanonicalFacts:
    """What a canonical day is judged by: counts from its record, and the findings of its contract."""

    digest: str
    rows: int
    events: int  # good events before duplicates were dropped
    bad: int
    duplicates: int
    rejects: Mapping[str, int]
    contract: tuple[Finding, ...]


def judge_canonical_day(facts: CanonicalFacts, policy: Policy) -> GateReport:
    """Return one finding per gate of the policy, in its order; a gate without a rule here is an error, never a pass."""
    findings = tuple(graded(_RULES[gate](facts, params), params) for gate, params in policy.gates.items())
    return GateReport(policy.subject, facts.digest, findings, policy=policy.digest)


def _contract(facts: CanonicalFacts, params: Mapping[str, Scalar]) -> Finding:
    return merged("contract", facts.contract, params=dict(params), what="the canonical day")


def _volume(facts: CanonicalFacts, params: Mapping[str, Scalar]) -> Finding:
    limit = float(params["min_events"] or 0)
    return at_least("volume", facts.rows, limit=limit, setting="gates.min_events", what="number of distinct events")


def _bad_share(facts: CanonicalFacts, params: Mapping[str, Scalar]) -> Finding:
    share = facts.bad / (facts.bad + facts.events) if facts.bad else 0.0
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(facts.rejects.items()) if count)
    what = f"share of bad lines ({reasons})" if reasons else "share of bad lines"
    return at_most(
        "bad_share", share, limit=float(params["max_bad_share"] or 0), setting="raw.max_bad_share", what=what
    )


def _duplicate_share(facts: CanonicalFacts, params: Mapping[str, Scalar]) -> Finding:
    share = facts.duplicates / facts.events if facts.events else 0.0
    limit = float(params["max_duplicate_share"] or 0)
    setting = "gates.max_duplicate_share"
    return at_most("duplicate_share", share, limit=limit, setting=setting, what="share of exact duplicates")


_RULES: Mapping[str, Callable[[CanonicalFacts, Mapping[str, Scalar]], Finding]] = {
    "contract": _contract,
    "volume": _volume,
    "bad_share": _bad_share,
    "duplicate_share": _duplicate_share,
}
