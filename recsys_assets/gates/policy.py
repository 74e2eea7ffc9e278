"""Policies of a target: the gates of its days, artifacts and candidates under the current settings."""

from recsys_assets.evidence import CANONICAL
from recsys_assets.gates.artifact import ArtifactFacts, BadCatalogShare, artifact_gates, catalog_gates
from recsys_assets.gates.candidate import (
    BACKTEST,
    REHEARSAL,
    Backtested,
    NotLoaded,
    NotTested,
    Rehearsed,
    backtest_gates,
    rehearsal_gates,
)
from recsys_assets.gates.canonical import CanonicalFacts, canonical_gates
from recsys_assets.gates.custom import custom_gates
from recsys_assets.gates.drift import drift_gates
from recsys_assets.gates.gate import Gate, Policy, in_force
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.gates import CountGate
from recsys_assets.settings.settings import Settings, TargetSettings


def canonical_policy(settings: Settings, row: TargetSettings) -> Policy[CanonicalFacts]:
    """Return the gates of a target's canonical days."""
    limits = settings.gates_for(row)
    gates = canonical_gates(
        limits,
        max_bad_share=settings.raw.max_bad_share,
        max_out_of_window_share=settings.raw.max_out_of_window_share,
    )
    own = custom_gates(settings, row, limits, CANONICAL)
    return Policy(CANONICAL, in_force([*gates, *own], limits.modes))


def artifact_policy(settings: Settings, row: TargetSettings, kind: str, params: KindParams) -> Policy[ArtifactFacts]:
    """Return the gates of one artifact kind of a target. `params` are the parameters that the kind is built with."""
    limits = settings.gates_for(row)
    may_be_empty = KINDS[kind].may_be_empty if kind in KINDS else ""
    own = artifact_gates(limits, row, kind, params, may_be_empty=may_be_empty)
    gates = [*own, *drift_gates(limits.drift.of_kind(kind))]
    if kind in KINDS and KINDS[kind].from_catalog:
        rule = BadCatalogShare(settings.raw.max_bad_catalog_share)
        gates += [Gate(CountGate.BAD_CATALOG_SHARE.value, rule), *catalog_gates(limits.catalog)]
    gates += custom_gates(settings, row, limits, kind)
    return Policy(kind, in_force(gates, limits.modes))


def rehearsal_policy(settings: Settings, row: TargetSettings) -> Policy[Rehearsed | NotLoaded]:
    """Return the rehearsal gates of a target's candidates, or a policy without gates if the rehearsal is off."""
    limits = settings.gates_for(row)
    return Policy(REHEARSAL, rehearsal_gates(limits.rehearsal, settings.kinds_for(row), limits.modes))


def backtest_policy(settings: Settings, row: TargetSettings) -> Policy[Backtested | NotTested]:
    """Return the back-test gates of a target's candidates: one per kind that ranks items, and one for their blend."""
    ranked = [name for name in settings.artifacts.kinds if name in KINDS and KINDS[name].description.orders_items]
    limits = settings.gates_for(row)
    return Policy(BACKTEST, backtest_gates(limits.backtest, ranked, limits.modes))
