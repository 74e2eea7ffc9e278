"""The drift gates: what an artifact's distance from the live release is held against, and what it says when too far."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from recsys_assets.evidence import NO_BASELINE, Finding, Scalar, Verdict
from recsys_assets.gates.drift_distance import Drift, Sides
from recsys_assets.settings.gates import DriftGate, DriftLimits, Mode

MODE = "mode"


@dataclass(frozen=True, slots=True)
class NoBaseline:
    """There is nothing to compare with: nothing of the kind is live, or (`fault`) what is live cannot be read."""

    fault: str | None = None


def drift_gates(limits: DriftLimits, modes: Mapping[str, Mode] | None = None) -> dict[str, dict[str, Scalar]]:
    """Return the parameters of every drift gate that is not off, as a policy holds them; `modes` have the last word."""
    values: dict[str, Scalar] = limits.model_dump(exclude={MODE, "required", "off"})
    message = {gate: (modes or {}).get(gate, limits.mode_of(gate)) for gate in DriftGate}
    return {
        gate.value: {MODE: mode.value, **{name: values[name] for name in _RULES[gate].limits}}
        for gate, mode in message.items()
        if mode is not Mode.OFF
    }


def judge_drift(gate: DriftGate, drift: Drift | NoBaseline, params: Mapping[str, Scalar]) -> Finding:
    """Return one drift gate's finding; beyond its limit it advises, or refuses where the policy requires it.

    Without a baseline it passes; a live release that cannot be read is as far off as can be, because nothing is known.
    """
    if isinstance(drift, NoBaseline):
        message = f"the live release cannot be compared with: {drift.fault}" if drift.fault else NO_BASELINE
        return _finding(gate, None, params=dict(params), ok=drift.fault is None, message=message)
    limits = {name: float(value or 0) for name, value in params.items() if name != MODE}
    found = _RULES[gate].measure(drift, limits)
    message = f"{found.message}; {', '.join(f'{name} is {value:g}' for name, value in limits.items())}"
    return _finding(
        gate,
        found.value,
        params={**params, "live_release": drift.release},
        ok=found.ok,
        message=f"{message}; live is release {drift.release[:12]}",
    )


@dataclass(frozen=True, slots=True)
class _Found:
    value: float | None
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class _Rule:
    measure: Callable[[Drift, Mapping[str, float]], _Found]
    limits: tuple[str, ...]


def _finding(gate: DriftGate, value: float | None, *, params: dict[str, Scalar], ok: bool, message: str) -> Finding:
    beyond = Verdict.REFUSED if params[MODE] == Mode.REQUIRED else Verdict.ADVISED
    remedy = f": mend the input; if the change is meant, ship it by --override {gate}, or change gates.drift"
    return Finding(
        gate=gate.value,
        verdict=Verdict.PASSED if ok else beyond,
        value=value,
        params=params,
        message=message if ok else message + remedy,
        count=0 if ok else 1,
    )


def _rows(drift: Drift, limits: Mapping[str, float]) -> _Found:
    return _factor(drift.rows, limits["max_rows_factor"], what="rows")


def _items(drift: Drift, limits: Mapping[str, float]) -> _Found:
    return _factor(drift.items, limits["max_items_factor"], what="distinct items")


def _factor(sides: Sides, limit: float, *, what: str) -> _Found:
    message = f"there are {sides.candidate:,.0f} {what}, live has {sides.live:,.0f}"
    return _Found(sides.candidate, ok=sides.factor <= limit, message=message)


def _overlap(drift: Drift, limits: Mapping[str, float]) -> _Found:
    what = f"share of live's {limits['top_items']:.0f} strongest items among the new strongest"
    return _least(drift.overlap, limits["min_overlap"], what=what)


def _rank(drift: Drift, limits: Mapping[str, float]) -> _Found:
    return _least(drift.rank_correlation, limits["min_rank_correlation"], what="rank correlation with live")


def _least(value: float | None, limit: float, *, what: str) -> _Found:
    if value is None:
        return _Found(None, ok=True, message=f"too few shared items for the {what}")
    return _Found(value, ok=value >= limit, message=f"{what} is {value:.4g}")


def _most(value: float | None, limit: float, *, what: str) -> _Found:
    if value is None:
        return _Found(None, ok=True, message=f"nothing to tell the {what} by")
    return _Found(value, ok=value <= limit, message=f"{what} is {value:.4g}")


def _churn(drift: Drift, limits: Mapping[str, float]) -> _Found:
    return _most(drift.churn, limits["max_churn"], what="share of changed members in lists that live has too")


def _coverage(drift: Drift, limits: Mapping[str, float]) -> _Found:
    new, live = drift.coverage.candidate, drift.coverage.live
    message = f"coverage of the catalog is {new:.4g}, live's is {live:.4g}"
    return _Found(new, ok=new >= live * limits["min_coverage_ratio"], message=message)


def _gini(drift: Drift, limits: Mapping[str, float]) -> _Found:
    new, live = drift.gini.candidate, drift.gini.live
    return _Found(new, ok=new <= live + limits["max_gini_rise"], message=f"Gini is {new:.4g}, live's is {live:.4g}")


def _unknown(drift: Drift, limits: Mapping[str, float]) -> _Found:
    what = "share of items that the live catalog does not know"
    return _most(drift.unknown_share, limits["max_unknown_share"], what=what)


_RULES: Mapping[DriftGate, _Rule] = {
    DriftGate.ROWS: _Rule(_rows, ("max_rows_factor",)),
    DriftGate.ITEMS: _Rule(_items, ("max_items_factor",)),
    DriftGate.OVERLAP: _Rule(_overlap, ("min_overlap", "top_items")),
    DriftGate.RANK: _Rule(_rank, ("min_rank_correlation",)),
    DriftGate.CHURN: _Rule(_churn, ("max_churn",)),
    DriftGate.COVERAGE: _Rule(_coverage, ("min_coverage_ratio",)),
    DriftGate.GINI: _Rule(_gini, ("max_gini_rise",)),
    DriftGate.UNKNOWN: _Rule(_unknown, ("max_unknown_share",)),
}

DRIFT_RULES: Mapping[str, Callable[[Drift | NoBaseline, Mapping[str, Scalar]], Finding]] = {
    gate.value: partial(judge_drift, gate) for gate in DriftGate
}
