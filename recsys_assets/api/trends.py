"""Trends of a target over the last 30 days: rows, sessions and quality of its releases, and its gates, as lines."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from itertools import chain
from typing import Final, TypeAlias

import msgspec
from cachetools import LRUCache
from msgspec.structs import replace

from recsys_assets.api.problems import redact
from recsys_assets.artifact_format import sharded_kind
from recsys_assets.evidence import Finding, GateReport
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import if_readable
from recsys_assets.release.documents import Release
from recsys_assets.release.releases import find_readable_release
from recsys_assets.release.staged import find_report_of_day, find_report_of_kind
from recsys_assets.storage.store import ObjectStore, fan_out

DAYS: Final = 30
_POINTS: Final = 40  # Releases read per trend. Several may have the same last day.
_CACHED: Final = 50_000
_WIDTH: Final = 90.0
_HEIGHT: Final = 24.0
_MARGIN: Final = 3.0
_BACKTEST: Final = "ndcg/blend"
_NUMBER: Final = r"(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)"
_BOUNDS: Final = re.compile(rf"\bat (least|most) {_NUMBER}(?: and at most {_NUMBER})?")
# Limits in the unit of the value
_PARAMS: Final = {"min_overlap", "min_rank_correlation", "max_churn", "max_unknown_share"}

Place: TypeAlias = tuple[float, float]


class ReleasePoint(msgspec.Struct, frozen=True):
    """A release as a point of a trend: the end of its data, its values (None if unknown), and its parent.

    `sessions` are those of its last day. `quality` is the nDCG of its back-test, or without one the score of the then
    live release on that day relative to its usual score. `quality_name` says which.
    """

    id: str
    data_through: date
    rows: int | None
    sessions: int | None
    quality: float | None
    quality_name: str
    parent: str | None


class ReleasePoints:
    """LRU cache of points by release id. A record never changes, so each is read once."""

    def __init__(self) -> None:
        self._points: LRUCache[tuple[Target, str], ReleasePoint] = LRUCache(_CACHED)
        self._lock = threading.Lock()

    def find(self, store: ObjectStore, target: Target, release: str) -> ReleasePoint | None:
        """Return the point of a release, or None if its record cannot be read."""
        with self._lock:
            cached = self._points.get((target, release))
        if cached is not None:
            return cached
        record = find_readable_release(store, target, release)
        if record is None:
            return None
        point = _point(record)
        with self._lock:
            self._points[target, release] = point
        return point

    def walk(self, store: ObjectStore, target: Target, live: str | None) -> tuple[ReleasePoint, ...]:
        """Return the points of the live release and its ancestors within 30 days of its data, oldest first."""
        return tuple(self._walk(store, target, live))[::-1]

    def _walk(self, store: ObjectStore, target: Target, live: str | None) -> Iterator[ReleasePoint]:
        first: date | None = None
        for _ in range(_POINTS):
            point = self.find(store, target, live) if live else None
            if point is None:
                return
            first = first or point.data_through - timedelta(days=DAYS)
            if point.data_through < first:
                return
            yield point
            live = point.parent


class TrendLine(msgspec.Struct, frozen=True):
    """A line over days as SVG `points`, with limit lines, refused points, its last point, and a tooltip."""

    points: str
    limits: tuple[str, ...]
    refused: tuple[Place, ...]
    last: Place
    value: float
    message: str


class Trends(msgspec.Struct, frozen=True):
    """The three lines of a target in the overview, or None without values."""

    rows: TrendLine | None
    sessions: TrendLine | None
    quality: TrendLine | None


class TrendPoint(msgspec.Struct, frozen=True):
    """One day of a line: its value, the limits it was compared with, and whether it was refused."""

    day: date
    value: float
    least: float | None = None
    most: float | None = None
    refused: bool = False


def draw_trends(points: Sequence[ReleasePoint]) -> Trends:
    """Return lines of rows, sessions and quality of releases. Quality is only that of the newest point's measure."""
    name = next((point.quality_name for point in reversed(points) if point.quality is not None), "")
    rated = [point for point in points if point.quality_name == name]
    return Trends(
        rows=draw_line("rows", [TrendPoint(p.data_through, p.rows) for p in points if p.rows is not None]),
        sessions=draw_line(
            "sessions", [TrendPoint(p.data_through, p.sessions) for p in points if p.sessions is not None]
        ),
        quality=draw_line(name, [TrendPoint(p.data_through, p.quality) for p in rated if p.quality is not None]),
    )


def draw_line(name: str, samples: Sequence[TrendPoint], *, from_zero: bool = True) -> TrendLine | None:
    """Return samples as a line 90 wide and 24 high, oldest first, or None without samples."""
    if not samples:
        return None
    last = {sample.day: sample for sample in samples}  # the later one, if a day was built twice
    samples = [last[day] for day in sorted(last)]
    days = (samples[-1].day - samples[0].day).days or 1
    numbers = [sample.value for sample in samples]
    seen = [
        *numbers,
        *(n for sampled in samples for n in (sampled.least, sampled.most) if n is not None),
        *([0.0] * from_zero),
    ]
    low, high = min(seen), max(seen)

    def place(day: date, number: float) -> Place:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * ((day - samples[0].day).days / days if len(samples) > 1 else 0.5)
        share = (number - low) / (high - low) if high > low else 0.5
        return round(x, 1), round(_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * share, 1)

    def path(of: Sequence[tuple[date, float | None]]) -> str:
        return " ".join("{},{}".format(*place(day, number)) for day, number in of if number is not None)

    bounds = (path([(sampled.day, getattr(sampled, side)) for sampled in samples]) for side in ("least", "most"))
    return TrendLine(
        points=path([(sampled.day, sampled.value) for sampled in samples]),
        limits=tuple(filter(None, bounds)),
        refused=tuple(place(sampled.day, sampled.value) for sampled in samples if sampled.refused),
        last=place(samples[-1].day, samples[-1].value),
        value=samples[-1].value,
        message=_words(name, samples),
    )


def read_day_reports(store: ObjectStore, target: Target, days: Sequence[date]) -> dict[date, GateReport]:
    """Return the gate reports of days, including refused ones. Days without a report are omitted."""

    def read(day: date) -> GateReport | None:
        return _redacted(lambda: find_report_of_day(store, target, day))

    reports = fan_out(read, days)
    return {day: report for day, report in zip(days, reports, strict=True) if report is not None}


def read_staged_reports(store: ObjectStore, target: Target, day: date, kinds: Iterable[str]) -> dict[str, GateReport]:
    """Return the gate reports of a day's staged kinds, by kind. Unreadable ones are omitted."""
    reports = {kind: _redacted(partial(find_report_of_kind, store, target, day, kind)) for kind in kinds}
    return {kind: report for kind, report in reports.items() if report is not None}


def _redacted(read: Callable[[], GateReport | None]) -> GateReport | None:
    """Return a stored gate report with internal locations redacted, or None if it is missing or unreadable."""
    report = if_readable(read)  # a damaged report is replaced when its subject is evaluated again
    return replace(report, findings=tuple(map(_redact, report.findings))) if report else None


def _redact(finding: Finding) -> Finding:
    sample = tuple({key: redact(v) if isinstance(v, str) else v for key, v in row.items()} for row in finding.sample)
    return replace(finding, message=redact(finding.message), sample=sample)


def draw_gates(
    store: ObjectStore, target: Target, points: Sequence[ReleasePoint], days: Mapping[date, GateReport]
) -> dict[str, TrendLine]:
    """Return a line per gate with numeric values, by `subject/gate`, of days and of kinds by release."""
    records = fan_out(lambda point: find_readable_release(store, target, point.id), points)
    judged = chain(
        ((day, report) for day, report in days.items()),
        (
            (date.fromisoformat(record.data_through), member.gates)
            for record in records
            if record
            for member in record.members
        ),
    )
    points_by_gate: dict[str, list[TrendPoint]] = {}
    for day, report in judged:
        for finding in report.findings:
            sample = _sample(day, finding)
            if sample is not None:
                points_by_gate.setdefault(f"{report.subject}/{finding.gate}", []).append(sample)
    lines = {
        name: draw_line(name.partition("/")[2], samples, from_zero=False) for name, samples in points_by_gate.items()
    }
    return {name: line for name, line in lines.items() if line is not None}


def _sample(day: date, finding: Finding) -> TrendPoint | None:
    if not isinstance(finding.value, int | float) or isinstance(finding.value, bool):
        return None
    least, most = _limits(finding)
    return TrendPoint(day, finding.value, least, most, refused=not finding.ok)


def _limits(finding: Finding) -> tuple[float | None, float | None]:
    """Return the limits in the unit of the value, from the message, because settings may be shares."""
    match = _BOUNDS.search(finding.message)
    if match is not None:
        first, second = (float(n.replace(",", "")) if n else None for n in match.group(2, 3))
        return (first, second) if match[1] == "least" else (None, first)
    named = {
        name: value for name, value in finding.params.items() if name in _PARAMS and isinstance(value, int | float)
    }
    least, most = ([v for n, v in named.items() if n.startswith(begin)] for begin in ("min_", "max_"))
    return least[0] if least else None, most[0] if most else None


def _words(name: str, samples: Sequence[TrendPoint]) -> str:
    numbers = [sample.value for sample in samples]
    refused = sum(sample.refused for sample in samples)
    text = f"{name}, {len(samples)} day{'s' if len(samples) > 1 else ''} to {samples[-1].day}: "
    text += f"{_shown(min(numbers))} to {_shown(max(numbers))}, last {_shown(numbers[-1])}"
    return text + (f", {refused} refused" if refused else "")


def _shown(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.3g}"


def _point(record: Release) -> ReleasePoint:
    last = max(record.canonical, key=lambda day: day.day, default=None)
    sessions = last.gates.facts.get("sessions") if last else None
    quality, name = _quality(record, last.gates if last else None)
    return ReleasePoint(
        id=record.id,
        data_through=date.fromisoformat(record.data_through),
        rows=_rows(record),
        sessions=sessions if isinstance(sessions, int) else None,
        quality=quality,
        quality_name=name,
        parent=record.parent,
    )


def _quality(record: Release, day: GateReport | None) -> tuple[float | None, str]:
    scored = (report.facts.get(_BACKTEST) for report in record.gates)
    quality = next((value for value in scored if isinstance(value, int | float)), None)
    if quality is not None:
        return quality, "nDCG in the back-test"
    worth = (finding.value for finding in (day.findings if day else ()) if finding.gate == "day_live")
    quality = next((value for value in worth if isinstance(value, int | float)), None)
    return quality, "worth of live on the day (1: as usual)" if quality is not None else ""


def _rows(record: Release) -> int | None:
    """Return the total rows of all kinds. A kind stored both whole and in shards counts once."""
    rows = {
        sharded_kind(member.ref.kind): count
        for member in record.members
        if isinstance(count := member.facts.get("rows"), int)
    }
    return sum(rows.values()) if rows else None
