"""Drift gates: limits on the distance of an artifact from the live release."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.gates.drift_distance import Drift, Sides
from recsys_assets.gates.gate import Gate, Result, passes
from recsys_assets.settings.gates import DriftGate, DriftLimits, Mode

_REMEDY = ": fix the input; if the change is intended, ship it by --override {gate}, or change gates.drift"


class NoBaseline(msgspec.Struct, frozen=True):
    """Absence of a baseline: nothing of the kind is live, or (`fault`) the live artifact cannot be read."""

    fault: str | None = None


class HasDrift(Protocol):
    """Facts with the distance from the live release."""

    @property
    def drift(self) -> Drift | NoBaseline:
        """The distance, or the reason for its absence."""
        ...


def drift_gates(limits: DriftLimits) -> list[Gate[HasDrift]]:
    """Return the drift gates with these limits, in the order of the report."""
    rules: dict[DriftGate, Callable[[HasDrift], Result]] = {
        DriftGate.ROWS: MaxRowsFactor(limits.max_rows_factor),
        DriftGate.ITEMS: MaxItemsFactor(limits.max_items_factor),
        DriftGate.OVERLAP: MinOverlap(limits.min_overlap, limits.top_items),
        DriftGate.RANK: MinRankCorrelation(limits.min_rank_correlation),
        DriftGate.CHURN: MaxChurn(limits.max_churn),
        DriftGate.COVERAGE: MinCoverage(limits.min_coverage_ratio),
        DriftGate.GINI: MaxGiniRise(limits.max_gini_rise),
        DriftGate.UNKNOWN: MaxUnknownItems(limits.max_unknown_share),
    }
    return [Gate(gate.value, rule, limits.mode_of(gate), Mode.ADVISORY) for gate, rule in rules.items()]


@dataclass(frozen=True, slots=True)
class MaxRowsFactor:
    """The maximum factor between the numbers of rows of the candidate and the live artifact."""

    max_rows_factor: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the factor with the limit."""
        return _judge(facts, lambda drift: _factor(drift.rows, self.max_rows_factor, "max_rows_factor", subject="rows"))


@dataclass(frozen=True, slots=True)
class MaxItemsFactor:
    """The maximum factor between the numbers of distinct items of the candidate and the live artifact."""

    max_items_factor: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the factor with the limit."""
        limit, subject = self.max_items_factor, "distinct items"
        return _judge(facts, lambda drift: _factor(drift.items, limit, "max_items_factor", subject=subject))


@dataclass(frozen=True, slots=True)
class MinOverlap:
    """The minimum share of the strongest live items that are among the strongest of the candidate."""

    min_overlap: float
    top_items: int

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the share of shared strongest items with the limit."""
        subject = f"share of the {self.top_items} strongest live items among the new strongest"
        limits = f"min_overlap is {self.min_overlap:g}, top_items is {self.top_items}"
        return _judge(
            facts, lambda drift: _bound(drift.overlap, at_least=self.min_overlap, limits=limits, subject=subject)
        )


@dataclass(frozen=True, slots=True)
class MinRankCorrelation:
    """The minimum rank correlation of the shared items."""

    min_rank_correlation: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare Spearman's correlation of the items' strengths with the limit."""
        least, subject = self.min_rank_correlation, "rank correlation with live"
        limits = f"min_rank_correlation is {least:g}"
        return _judge(
            facts, lambda drift: _bound(drift.rank_correlation, at_least=least, limits=limits, subject=subject)
        )


@dataclass(frozen=True, slots=True)
class MaxChurn:
    """The maximum share of changed members in lists with the same key."""

    max_churn: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the share of changed members with the limit."""
        subject, limits = "share of changed members in lists that are also live", f"max_churn is {self.max_churn:g}"
        return _judge(facts, lambda drift: _bound(drift.churn, at_most=self.max_churn, limits=limits, subject=subject))


@dataclass(frozen=True, slots=True)
class MinCoverage:
    """The minimum coverage of the catalog, as a share of the live coverage."""

    min_coverage_ratio: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the coverage with that of the live artifact."""

        def judge(drift: Drift) -> Result:
            new, live = drift.coverage.candidate, drift.coverage.live
            message = f"coverage of the catalog is {new:.4g}, live {live:.4g}"
            ok = new >= live * self.min_coverage_ratio
            return _result(new, ok=ok, message=message, limits=f"min_coverage_ratio is {self.min_coverage_ratio:g}")

        return _judge(facts, judge)


@dataclass(frozen=True, slots=True)
class MaxGiniRise:
    """The maximum rise of the Gini coefficient over the live one."""

    max_gini_rise: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the concentration with that of the live artifact."""

        def judge(drift: Drift) -> Result:
            new, live = drift.gini.candidate, drift.gini.live
            message = f"Gini is {new:.4g}, live {live:.4g}"
            ok = new <= live + self.max_gini_rise
            return _result(new, ok=ok, message=message, limits=f"max_gini_rise is {self.max_gini_rise:g}")

        return _judge(facts, judge)


@dataclass(frozen=True, slots=True)
class MaxUnknownItems:
    """The maximum share of items that are missing in the live catalog."""

    max_unknown_share: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the share of unknown items with the limit."""
        most, subject = self.max_unknown_share, "share of items that are missing in the live catalog"
        limits = f"max_unknown_share is {most:g}"
        return _judge(facts, lambda drift: _bound(drift.unknown_share, at_most=most, limits=limits, subject=subject))


def _judge(facts: HasDrift, rule: Callable[[Drift], Result]) -> Result:
    """Return the result of a rule, with the live release of the comparison.

    Without a baseline the result is a pass. A live release that cannot be read is a refusal: its distance is unknown.
    """
    drift = facts.drift
    if isinstance(drift, Drift):
        result = rule(drift)
        message = f"{result.message}; live is release {drift.release[:12]}"
        return Result(result.verdict, result.value, message, _REMEDY, compared={"live_release": drift.release})
    if drift.fault:
        return Result(Verdict.REFUSED, None, f"the live release cannot be read: {drift.fault}", _REMEDY)
    return Result(Verdict.PASSED, None, NO_BASELINE)


def _result(value: float | None, *, ok: bool, message: str, limits: str) -> Result:
    return Result(passes(ok=ok), value, f"{message}; {limits}")


def _factor(sides: Sides, limit: float, name: str, *, subject: str) -> Result:
    message = f"{sides.candidate:,.0f} {subject}, {sides.live:,.0f} live"
    return _result(sides.candidate, ok=sides.factor <= limit, message=message, limits=f"{name} is {limit:g}")


def _bound(
    value: float | None, *, at_least: float = float("-inf"), at_most: float = float("inf"), limits: str, subject: str
) -> Result:
    if value is None:
        return _result(None, ok=True, message=f"too few shared items for the {subject}", limits=limits)
    return _result(value, ok=at_least <= value <= at_most, message=f"{subject} is {value:.4g}", limits=limits)
