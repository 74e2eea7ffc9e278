"""Views of a target in the console: timeline of its journal, rollout, and outcomes by day as charts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import msgspec

from recsys_assets.api.context import ApiContext
from recsys_assets.api.problems import redact
from recsys_assets.api.queries import TargetQuery
from recsys_assets.api.trends import ReleasePoints
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.quality.outcome_report import ALL, METRICS, OutcomeReport, OutcomeRow
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import Hold, JournalEntry
from recsys_assets.release.journal import REFUSED, message_of
from recsys_assets.release.layout import outcomes_key
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.upkeep.rollout_guard import Decision, RolloutLimits, look_at_rollout

_STEP: Final = 26.0  # distance between events
_LEFT: Final = 92.0
_TOP: Final = 30.0
_TALL: Final = 120.0
_LABEL_EVERY: Final = 3  # minimum events between two date labels
DAYS: Final = 30
_CHART_STEP, _HEIGHT, _CHART_LEFT, _MARGIN = 22.0, 140.0, 60.0, 16.0
_COLOURS: Final = 4  # colours of releases in one chart, reused in turn


class Event(msgspec.Struct, frozen=True):
    """One journal entry in the timeline: position, kind (release, rollback, refusal or hold), and tooltip."""

    x: float
    y: float
    kind: str
    message: str


class Band(msgspec.Struct, frozen=True):
    """Horizontal range of the timeline in which a hold was in force."""

    x: float
    width: float
    message: str


class Timeline(msgspec.Struct, frozen=True):
    """Timeline as steps: the last day of live data after each event, from left to right."""

    width: float
    height: float
    line: str  # SVG path
    events: tuple[Event, ...]
    holds: tuple[Band, ...]
    days: tuple[tuple[float, str], ...]  # y and label of days of data
    dates: tuple[tuple[float, str], ...]  # x and label of dates


def draw_timeline(
    store: ObjectStore, points: ReleasePoints, target: Target, entries: Sequence[JournalEntry], hold: Hold | None
) -> Timeline | None:
    """Return the timeline of journal entries, oldest first, or None if no entry is shown."""
    steps = list(_steps(store, points, target, entries))
    if not steps:
        return None
    known_days = sorted(step.day for step in steps if step.day)
    days = known_days[:1] + known_days[-1:]

    def height(day: date | None) -> float:
        """Return y of a day between the first and the last one. An unknown day is at the bottom."""
        share = (day - days[0]).days / max((days[1] - days[0]).days, 1) if day else 0.0
        return _TOP + _TALL * (1 - share)

    events = [Event(_LEFT + _STEP * n, height(step.day), step.kind, step.message) for n, step in enumerate(steps)]
    places = {step.sequence: event.x for step, event in zip(steps, events, strict=True)}
    end = events[-1].x + _STEP / 2
    placed = [event for event, step in zip(events, steps, strict=True) if step.day]
    return Timeline(
        width=end + _STEP,
        height=_TOP + _TALL + 40,
        line=_line(placed, end),
        events=tuple(events),
        holds=tuple(_bands(entries, places, hold, end=end)),
        days=tuple((height(day), day.isoformat()) for day in sorted({*days})),
        dates=tuple(_dates(steps, events)),
    )


@dataclass(slots=True)
class _Step:
    sequence: int
    kind: str
    day: date | None
    at: str
    message: str


def _kind_of(entry: JournalEntry) -> str | None:
    """Return the kind of event of an entry, or None if it is not shown."""
    if entry.outcome == REFUSED:
        return "refusal"
    if entry.action in {"hold", "release_hold"}:
        return "hold"
    if entry.changed:
        return "rollback" if entry.action == "roll_back" else "release"
    return None


def _steps(
    store: ObjectStore, points: ReleasePoints, target: Target, entries: Sequence[JournalEntry]
) -> Iterator[_Step]:
    day: date | None = None
    for entry in entries:
        kind = _kind_of(entry)
        if kind is None:
            continue
        point = points.find(store, target, entry.after) if entry.after else None
        day = point.data_through if point else day
        yield _Step(entry.sequence, kind, day, entry.at, words_of(entry, day))


def words_of(entry: JournalEntry, day: date | None) -> str:
    """Return one line about an entry: time, action, actor and reason."""
    action = f"{entry.action.replace('_', ' ')} {entry.outcome}"
    data = f", live data through {day}" if day else ""
    reason = message_of(entry) if entry.outcome == REFUSED else entry.reason
    return f"{entry.at[:16].replace('T', ' ')} UTC: {action} by {entry.actor}{data}. {reason[:200]}"


def _line(events: Sequence[Event], end: float) -> str:
    """Return the steps as an SVG path, horizontal until the next event."""
    if not events:
        return ""
    parts = [f"M{events[0].x:g} {events[0].y:g}", *(f"H{event.x:g}V{event.y:g}" for event in events[1:])]
    return "".join([*parts, f"H{end:g}"])


def _bands(
    entries: Sequence[JournalEntry], places: Mapping[int, float], hold: Hold | None, *, end: float
) -> Iterator[Band]:
    """Yield the holds, each until its release, the next ship, or the end if still in force."""
    start: tuple[float, str] | None = None
    rolled_back: tuple[float, str] | None = None  # a rollback may hold, which only the release of the hold shows
    for entry in entries:
        x = places.get(entry.sequence)
        if x is None:
            continue
        if start and (entry.action == "release_hold" or (entry.changed and entry.action == "ship")):
            yield Band(start[0], x - start[0], start[1])
            start = rolled_back = None
        elif rolled_back and entry.action == "release_hold":
            yield Band(rolled_back[0], x - rolled_back[0], rolled_back[1])
        if entry.action == "roll_back" and entry.changed:
            rolled_back = x, f"held by {entry.actor}: {entry.reason}"
        elif entry.action == "hold" and start is None:
            start = x, f"held by {entry.actor}: {entry.reason}"
    if hold is not None:
        later = [places[e.sequence] for e in entries if e.sequence in places and e.at >= hold.at]
        x = start[0] if start else min(later, default=end - _STEP)
        yield Band(x, max(end - x, _STEP / 2), f"held by {hold.actor}: {hold.reason}")
    elif start:
        yield Band(start[0], end - start[0], start[1])


def _dates(steps: Sequence[_Step], events: Sequence[Event]) -> Iterator[tuple[float, str]]:
    """Yield the date labels, where the date changes, with a minimum distance."""
    last, position = "", -_LABEL_EVERY
    for n, (step, event) in enumerate(zip(steps, events, strict=True)):
        if step.at[:10] != last and n - position >= _LABEL_EVERY:
            yield event.x, step.at[5:10]
            last, position = step.at[:10], n


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
    x, names = _CHART_LEFT, []
    for day, rows in days:
        names.append((x + _CHART_STEP * max(len(rows), 1) / 2, day[5:]))
        for row in rows or ():
            share = getattr(row, metric)
            y, low, high = (_HEIGHT * (1 - value / top) + _MARGIN for value in (share.rate, share.low, share.high))
            message = (
                f"{day} {row.release[:12]}: {share.rate:.2%} ({share.low:.2%} to {share.high:.2%}) of {share.of:,}"
            )
            marks.append(Mark(x + _CHART_STEP / 2, y, high, low, colours[row.release], message))
            x += _CHART_STEP
        x += _CHART_STEP if not rows else _CHART_STEP / 2
    return Picture(metric, x + _MARGIN, _HEIGHT + 3 * _MARGIN, f"{top:.1%}", tuple(marks), tuple(names))


def _whole(report: OutcomeReport) -> list[OutcomeRow]:
    return [row for row in report.rows if (row.kind, row.visitor) == ("", ALL)]
