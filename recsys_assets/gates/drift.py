"""Drift gates: limits on the distance of an artifact from the live release."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.gates.drift_distance import Drift, Sides
from recsys_assets.gates.gate import Gate, Result, passes
from recsys_assets.settings.gates import DriftGate, DriftLimits, Mode

_REMEDY = ": fix the input; if the change is meant, ship it by --override {gate}, or change gates.drift"


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """There is nothing to compare with: nothing of the kind is live, or (`fault`) what is live cannot be read."""

    fault: str | None = None


class HasDrift(Protocol):
    """Facts that hold a distance from the live release."""

    @property
    def drift(self) -> Drift | NoBaseline:
        """The distance, or why there is none."""
        ...


def drift_gates(limits: DriftLimits) -> list[Gate[HasDrift]]:
    """Return every drift gate under these limits, in the order of the report."""
    rules: dict[DriftGate, Callable[[HasDrift], Result]] = {
        DriftGate.ROWS: RowsFactor(limits.max_rows_factor),
        DriftGate.ITEMS: Items(limits.max_items_factor),
        DriftGate.OVERLAP: Overlap(limits.min_overlap, limits.top_items),
        DriftGate.RANK: Rank(limits.min_rank_correlation),
        DriftGate.CHURN: Churn(limits.max_churn),
        DriftGate.COVERAGE: Coverage(limits.min_coverage_ratio),
        DriftGate.GINI: Gini(limits.max_gini_rise),
        DriftGate.UNKNOWN: Unknown(limits.max_unknown_share),
    }
    return [Gate(gate.value, rule, limits.mode_of(gate), Mode.ADVISORY) for gate, rule in rules.items()]


@dataclass(frozen=True, slots=True)
class RowsFactor:
    """How many times more or fewer rows than live."""

    max_rows_factor: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the factor between both numbers of rows."""
        return _judge(facts, lambda drift: _factor(drift.rows, self.max_rows_factor, "max_rows_factor", what="rows"))


@dataclass(frozen=True, slots=True)
class Items:
    """How many times more or fewer distinct items than live."""

    max_items_factor: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the factor between both numbers of items."""
        limit, what = self.max_items_factor, "distinct items"
        return _judge(facts, lambda drift: _factor(drift.items, limit, "max_items_factor", what=what))


@dataclass(frozen=True, slots=True)
class Overlap:
    """The least share of live's strongest items among the new strongest."""

    min_overlap: float
    top_items: int

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the share of strongest items that stayed."""
        what = f"share of live's {self.top_items} strongest items among the new strongest"
        limits = f"min_overlap is {self.min_overlap:g}, top_items is {self.top_items}"
        return _judge(facts, lambda drift: _bound(drift.overlap, at_least=self.min_overlap, limits=limits, what=what))


@dataclass(frozen=True, slots=True)
class Rank:
    """The least rank correlation of the items that both have."""

    min_rank_correlation: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare Spearman's correlation of the items' strengths."""
        least, what = self.min_rank_correlation, "rank correlation with live"
        limits = f"min_rank_correlation is {least:g}"
        return _judge(facts, lambda drift: _bound(drift.rank_correlation, at_least=least, limits=limits, what=what))


@dataclass(frozen=True, slots=True)
class Churn:
    """The largest share of changed members in the lists that both have."""

    max_churn: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the share of members that changed."""
        what, limits = "share of changed members in lists that live has too", f"max_churn is {self.max_churn:g}"
        return _judge(facts, lambda drift: _bound(drift.churn, at_most=self.max_churn, limits=limits, what=what))


@dataclass(frozen=True, slots=True)
class Coverage:
    """The least coverage of the catalog, as a share of live's."""

    min_coverage_ratio: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the coverage with live's."""

        def judge(drift: Drift) -> Result:
            new, live = drift.coverage.candidate, drift.coverage.live
            message = f"coverage of the catalog is {new:.4g}, live's is {live:.4g}"
            ok = new >= live * self.min_coverage_ratio
            return _result(new, ok=ok, message=message, limits=f"min_coverage_ratio is {self.min_coverage_ratio:g}")

        return _judge(facts, judge)


@dataclass(frozen=True, slots=True)
class Gini:
    """How much the Gini coefficient may rise over live's."""

    max_gini_rise: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the concentration with live's."""

        def judge(drift: Drift) -> Result:
            new, live = drift.gini.candidate, drift.gini.live
            message = f"Gini is {new:.4g}, live's is {live:.4g}"
            ok = new <= live + self.max_gini_rise
            return _result(new, ok=ok, message=message, limits=f"max_gini_rise is {self.max_gini_rise:g}")

        return _judge(facts, judge)


@dataclass(frozen=True, slots=True)
class Unknown:
    """The largest share of items that the live catalog does not know."""

    max_unknown_share: float

    def __call__(self, facts: HasDrift) -> Result:
        """Compare the share of unknown items."""
        most, what = self.max_unknown_share, "share of items that the live catalog does not know"
        limits = f"max_unknown_share is {most:g}"
        return _judge(facts, lambda drift: _bound(drift.unknown_share, at_most=most, limits=limits, what=what))


def _judge(facts: HasDrift, rule: Callable[[Drift], Result]) -> Result:
    """Return a rule's result, with the live release that was compared.

    Without a baseline it passes; a live release that cannot be read is as far off as can be, because nothing is known.
    """
    drift = facts.drift
    if isinstance(drift, Drift):
        found = rule(drift)
        message = f"{found.message}; live is release {drift.release[:12]}"
        return Result(found.verdict, found.value, message, _REMEDY, compared={"live_release": drift.release})
    if drift.fault:
        return Result(Verdict.REFUSED, None, f"the live release cannot be compared with: {drift.fault}", _REMEDY)
    return Result(Verdict.PASSED, None, NO_BASELINE)


def _result(value: float | None, *, ok: bool, message: str, limits: str) -> Result:
    return Result(passes(ok=ok), value, f"{message}; {limits}")


def _factor(sides: Sides, limit: float, name: str, *, what: str) -> Result:
    message = f"there are {sides.candidate:,.0f} {what}, live has {sides.live:,.0f}"
    return _result(sides.candidate, ok=sides.factor <= limit, message=message, limits=f"{name} is {limit:g}")


def _bound(
    value: float | None, *, at_least: float = float("-inf"), at_most: float = float("inf"), limits: str, what: str
) -> Result:
    if value is None:
        return _result(None, ok=True, message=f"too few shared items for the {what}", limits=limits)
    return _result(value, ok=at_least <= value <= at_most, message=f"{what} is {value:.4g}", limits=limits)
