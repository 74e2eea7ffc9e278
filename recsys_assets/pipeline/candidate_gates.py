"""Gates of a candidate as a whole: what only all its artifacts together can show, judged before the swap."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from recsys_assets.evidence import GateReport
from recsys_assets.gates.backtest import BACKTEST
from recsys_assets.gates.gate import Policy
from recsys_assets.gates.policy import backtest_policy, rehearsal_policy
from recsys_assets.gates.rehearsal import REHEARSAL
from recsys_assets.pipeline.backtest import backtest_day
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.rehearsal import rehearse_day
from recsys_assets.release.candidate import is_left_out
from recsys_assets.release.document_encoding import encode, find_readable
from recsys_assets.release.documents import StagedArtifact
from recsys_assets.release.layout import staged_gates_key, staged_key
from recsys_assets.release.pointer import release_id_of
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

Judge = Callable[[DayContext, Mapping[str, str]], GateReport]

_POLICIES: Final[Mapping[str, Callable[[Settings, TargetSettings], Policy[Any]]]] = {
    REHEARSAL: rehearsal_policy,
    BACKTEST: backtest_policy,
}
_JUDGES: Final[Mapping[str, Judge]] = {REHEARSAL: rehearse_day, BACKTEST: backtest_day}


def whole_policies(settings: Settings, row: TargetSettings) -> list[Policy[Any]]:
    """Return the policy of each subject that judges a candidate of this target as a whole; none for what is off."""
    found = [make(settings, row) for make in _POLICIES.values()]
    return [policy for policy in found if policy.gates]


def judge_whole(context: DayContext, *, only_missing: bool = False) -> list[GateReport]:
    """Judge what a day staged as a whole, keep each report for the swap, and return them.

    With `only_missing` a report stays that is of these very artifacts and of today's limits. Nothing is judged, and
    nothing returned, where an artifact is missing or cannot be read: the swap names it.
    """
    store, row, day = context.store, context.row, context.day
    versions = _staged_versions(context)
    if versions is None:
        return []
    reports: list[GateReport] = []
    for policy in whole_policies(context.settings, row):
        key = staged_gates_key(row.target, day, policy.subject)
        judged = (release_id_of(row.target, versions), policy.digest)
        if only_missing and _judged(store, key) == judged:
            continue
        report = _JUDGES[policy.subject](context, versions)
        store.put(key, encode(report))
        reports.append(report)
    return reports


def _judged(store: ObjectStore, key: str) -> tuple[str, str] | None:
    report = find_readable(store, key, GateReport)  # one that is damaged is judged again, which replaces it
    return (report.version, report.policy) if report else None


def _staged_versions(context: DayContext) -> dict[str, str] | None:
    versions: dict[str, str] = {}
    for kind in context.settings.kinds_for(context.row):
        staged = find_readable(context.store, staged_key(context.target, context.day, kind), StagedArtifact)
        if staged is None:
            return None
        if is_left_out(context.store, context.target, context.day, staged):
            continue
        versions |= {ref.kind: ref.version for ref in staged.named}
    return versions or None
