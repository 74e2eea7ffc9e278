"""Console views of rollouts and outcomes: the guard's decision, and outcomes by day as charts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from recsys_assets.api.context import ApiContext
from recsys_assets.api.problems import redact
from recsys_assets.api.queries import TargetQuery
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.quality.outcome_report import ALL, METRICS, OutcomeReport, OutcomeRow
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.layout import outcomes_key
from recsys_assets.storage.store import fan_out
from recsys_assets.upkeep.rollout_guard import Decision, RolloutLimits, look_at_rollout

DAYS: Final = 30
_STEP, _HEIGHT, _LEFT, _MARGIN = 22.0, 140.0, 60.0, 16.0
_COLOURS: Final = 4  # colours of releases in one chart, reused in turn


class Mark(msgspec.Struct, frozen=True):
    """Rate of one release on one day: position, interval, colour and tooltip."""

    x: float
    y: float
    high: float
    low: float
    colour: int
    message: str


class Picture(msgspec.Struct, frozen=True):
    """Chart of one metric by day, with a mark per release."""

    metric: str
    width: float
    height: float
    top: str  # label of the rate at the upper edge
    marks: tuple[Mark, ...]
    days: tuple[tuple[float, str], ...]


def show_rollout(context: ApiContext, target: Target) -> Decision | str | None:
    """Return the guard's decision on the current rollout, or an error message, or None without a rollout."""
    row = context.settings.find(target.tenant, target.surface)
    try:
        limits = RolloutLimits.of(context.settings.rollout_for(row))
        decision = look_at_rollout(context.store, target, limits, now=context.now())
    except RecsysAssetsError as error:
        return redact(str(error))
    return decision if decision.rollout is not None and decision.rollout.is_under_way else None


def gather_outcomes(context: ApiContext, query: TargetQuery) -> dict[str, Any]:
    """Return charts of the stored reports of the last 30 days, and the newest report."""
    target = context.find(query.tenant, query.surface)
    today = context.now().date()
    days = [today - timedelta(days=n) for n in range(DAYS, 0, -1)]
    documents = fan_out(lambda day: find_document(context.store, outcomes_key(target, day), OutcomeReport), days)
    reports = [report for report in documents if report is not None]
    return {
        "tenant": target.tenant,
        "surface": target.surface,
        "pictures": [draw_outcomes(reports, metric) for metric in METRICS] if reports else [],
        "newest": reports[-1] if reports else None,
        "rollouts": [(report.end, rollout) for report in reversed(reports) for rollout in report.rollouts],
        "enabled": context.settings.outcomes.enabled,
    }


def draw_outcomes(reports: Sequence[OutcomeReport], metric: str) -> Picture:
    """Return the chart of a metric, of all kinds and visitors, by day (oldest first) and release."""
    days = [(report.end, _whole(report)) for report in reports]
    colours: dict[str, int] = {}
    for _, rows in days:
        for row in rows:
            colours.setdefault(row.release, len(colours) % _COLOURS)
    top = max((getattr(row, metric).high for _, rows in days for row in rows), default=0.0) or 1.0
    marks: list[Mark] = []
    x, names = _LEFT, []
    for day, rows in days:
        names.append((x + _STEP * max(len(rows), 1) / 2, day[5:]))
        for row in rows or ():
            share = getattr(row, metric)
            y, low, high = (_HEIGHT * (1 - value / top) + _MARGIN for value in (share.rate, share.low, share.high))
            message = (
                f"{day} {row.release[:12]}: {share.rate:.2%} ({share.low:.2%} to {share.high:.2%}) of {share.of:,}"
            )
            marks.append(Mark(x + _STEP / 2, y, high, low, colours[row.release], message))
            x += _STEP
        x += _STEP if not rows else _STEP / 2
    return Picture(metric, x + _MARGIN, _HEIGHT + 3 * _MARGIN, f"{top:.1%}", tuple(marks), tuple(names))


def _whole(report: OutcomeReport) -> list[OutcomeRow]:
    return [row for row in report.rows if (row.kind, row.visitor) == ("", ALL)]
