"""The earlier days of a window, judged again where the limits have changed since they were judged."""

from datetime import date

from recsys_assets.artifacts.kinds import read_params
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import CorruptObjectError
from recsys_assets.evidence import GateReport
from recsys_assets.gates.policy import canonical_policy
from recsys_assets.identity import Window
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import canonical_gates_key
from recsys_assets.stages.canonical import judge_canonical
from recsys_assets.storage.store import ObjectStore


def judge_earlier_days_again(store: ObjectStore, settings: Settings, row: TargetSettings, day: date) -> list[date]:
    """Judge, by today's limits and on their stored bytes, the days before `day` in its windows; return which.

    Only days that were judged by other limits: nobody should have to run the check of 27 days after changing one. A
    day that was never judged stays so, and `day` itself is judged by its own check.
    """
    windows = [
        Window.ending(day, days=read_params(settings, row, kind).window_days) for kind in settings.artifacts.kinds
    ]
    earlier = sorted({one for window in windows for one in window.days if one < day})
    policy = canonical_policy(settings, row).digest
    changed = [one for one in earlier if _judged_by_other_limits(store, row, one, policy)]
    for one in changed:
        judge_canonical(store, settings, row, one)
    return changed


def _judged_by_other_limits(store: ObjectStore, row: TargetSettings, day: date, policy: str) -> bool:
    try:
        report = find_document(store, canonical_gates_key(row.target, day), GateReport)
    except CorruptObjectError:
        return False  # the candidate names it
    return report is not None and report.policy != policy
