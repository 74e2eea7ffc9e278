"""Overrides: which gates somebody may answer for, and which refusals somebody has answered for already."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from recsys_assets.errors import ConfigurationError, CorruptObjectError
from recsys_assets.evidence import OVERRIDDEN, GateReport
from recsys_assets.pipeline.backtest_arms import staged_arm
from recsys_assets.pipeline.context import DayContext
from recsys_assets.release.candidate import CANONICAL, Requirement
from recsys_assets.release.documents import Release
from recsys_assets.release.releases import find_release
from recsys_assets.settings.gates import QUALITY_GATES, is_quality_gate


def override(required: Mapping[str, Requirement], gates: Collection[str], *, reason: str) -> dict[str, Requirement]:
    """Return the requirements, of which refusals of these gates do not count, because of `reason`.

    Raises `ConfigurationError` for a gate that proves integrity, and for one that nothing here requires.
    """
    firm = sorted(gate for gate in gates if not is_quality_gate(gate))
    if firm:
        raise ConfigurationError(
            f"{', '.join(firm)} cannot be overridden: only {', '.join(QUALITY_GATES)} and backtest_<kind> can; fix "
            "the input, or change the limit in the configuration"
        )
    known = {gate for one in required.values() for gate in one.gates}
    if unknown := sorted(set(gates) - known):
        asked = ", ".join(sorted(filter(is_quality_gate, known)))
        raise ConfigurationError(
            f"{', '.join(unknown)} judges nothing of this target: gates that may be named: {asked}"
        )
    answered = dict.fromkeys(gates, reason)
    return {subject: replace(one, overridden={**one.overridden, **answered}) for subject, one in required.items()}


def as_recorded(context: DayContext, required: Mapping[str, Requirement]) -> dict[str, Requirement]:
    """Return the requirements, of which refusals do not count that were overridden when this very release shipped.

    Same artifacts, same release, same word: who builds the day again, or writes its signals, need not be asked again.
    """
    try:
        side = staged_arm(context.store, context.target, context.day, kinds=context.settings.artifacts.kinds)
        release = None if side is None else find_release(context.store, context.target, side.release)
    except CorruptObjectError:
        return dict(required)  # named where the day is proven
    answered = {} if release is None else _answered(release)
    return {subject: replace(one, overridden=answered.get(subject, {})) for subject, one in required.items()}


def _answered(release: Release) -> dict[str, dict[str, str]]:
    """Return, by subject, the gates whose refusal was overridden, and why."""
    found = {report.subject: _reasons(report) for report in (*(m.gates for m in release.members), *release.gates)}
    canonical = {gate: why for one in release.canonical for gate, why in _reasons(one.gates).items()}
    return {**found, CANONICAL: canonical}


def _reasons(report: GateReport) -> dict[str, str]:
    return {f.gate: str(f.params[OVERRIDDEN]) for f in report.findings if OVERRIDDEN in f.params}
