"""Drawings of one release: its inputs as a graph, and its back-test, churn and coverage as plots."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from recsys_assets.api.release_detail import day_of_input, input_name
from recsys_assets.artifact_format import sharded_kind
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target
from recsys_assets.messages import plural
from recsys_assets.release.documents import CanonicalDay, Member, Release

_DAYS: Final = 14  # Last days shown in a graph. One box represents the earlier ones.
_COLUMNS: Final = (0.0, 250.0, 500.0, 730.0)  # left edges of days, windows, artifacts and the release
_WIDE: Final = 190.0
_TALL: Final = 40.0
_GAP: Final = 10.0


class Box(msgspec.Struct, frozen=True):
    """One node of a graph: position, name, detail, and the type of its page (None without a page)."""

    x: float
    y: float
    name: str
    detail: str
    page: str | None  # day | artifact
    id: str = ""
    width: float = _WIDE
    height: float = _TALL


class Graph(msgspec.Struct, frozen=True):
    """Boxes from left to right, and the links between them as SVG paths."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]


def draw_lineage(release: Release) -> Graph:
    """Return days, windows, artifacts and the release as boxes. Artifacts of the same inputs share a window's box."""
    target = Target(release.tenant, release.surface)
    members = [
        member for member in release.members if sharded_kind(member.ref.kind) == member.ref.kind or member.shard_refs
    ]
    windows = dict.fromkeys(_inputs(member, target) for member in members)
    days = sorted(release.canonical, key=lambda day: day.day)
    height = max(len(days[-_DAYS:]) + (len(days) > _DAYS), len(members), len(windows), 1) * (_TALL + _GAP)

    def column(position: int, count: int) -> list[tuple[float, float]]:
        top = (height - count * (_TALL + _GAP)) / 2
        return [(_COLUMNS[position], top + n * (_TALL + _GAP)) for n in range(count)]

    boxes_of_days = dict(_day_boxes(days, column(0, len(days[-_DAYS:]) + (len(days) > _DAYS))))
    boxes_of_windows = {
        window: Box(x, y, window[0], window[1], None)
        for window, (x, y) in zip(windows, column(1, len(windows)), strict=True)
    }
    boxes_of_members = [
        (
            member,
            Box(
                x,
                y,
                member.ref.kind,
                f"{plural(rows, 'row')}" if isinstance(rows, int) else "",
                "artifact",
                member.ref.version,
            ),
        )
        for member, (x, y) in zip(members, column(2, len(members)), strict=True)
        for rows in [member.facts.get("rows")]
    ]
    final = Box(*column(3, 1)[0], f"release {release.id[:12]}", f"data through {release.data_through}", None)
    links = [
        *_day_links(boxes_of_days, boxes_of_windows),
        *((boxes_of_windows[_inputs(member, target)], box) for member, box in boxes_of_members),
        *((box, final) for _, box in boxes_of_members),
    ]
    boxes = (
        *dict.fromkeys(boxes_of_days.values()),
        *boxes_of_windows.values(),
        *(b for _, b in boxes_of_members),
        final,
    )
    return Graph(_COLUMNS[-1] + _WIDE, height, boxes, tuple(dict.fromkeys(_path(*link) for link in links)))


_Window = tuple[str, str, tuple[str, ...]]


def _inputs(member: Member, target: Target) -> _Window:
    """Return the name of a member's inputs, a detail, and the days among them."""
    days = tuple(sorted(day for used in member.inputs if (day := day_of_input(used.name, target))))
    others = sorted(input_name(used.name, target) for used in member.inputs if not day_of_input(used.name, target))
    window = member.window_last if member.window_first == member.window_last else _span(member)
    if not days and others:
        return others[0], window, days
    return window, ", ".join([plural(len(days), "day"), *others]), days


def _span(member: Member) -> str:
    return f"{member.window_first} to {member.window_last[5:]}"


def _day_boxes(days: Sequence[CanonicalDay], places: Sequence[tuple[float, float]]) -> Iterator[tuple[str, Box]]:
    """Yield the box of each day. Days before the last `_DAYS` share the first box."""
    earlier, shown = days[:-_DAYS], days[-_DAYS:]
    if earlier:
        text = f"{earlier[0].day} to {earlier[-1].day[5:]}"
        box = Box(*places[0], text, f"{plural(len(earlier), 'day')} before", None)
        yield from ((day.day, box) for day in earlier)
    for day, corner in zip(shown, places[len(places) - len(shown) :], strict=True):
        size = sum(used.size for used in day.inputs)
        yield day.day, Box(*corner, day.day, f"{plural(len(day.inputs), 'raw file')}, {size:,} bytes", "day", day.day)


def _day_links(days: Mapping[str, Box], windows: Mapping[_Window, Box]) -> Iterator[tuple[Box, Box]]:
    for window, box in windows.items():
        yield from ((days[day], box) for day in window[2] if day in days)


def _path(box: Box, other: Box) -> str:
    x, y, to_x, to_y = box.x + box.width, box.y + box.height / 2, other.x, other.y + other.height / 2
    middle = (x + to_x) / 2
    return f"M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"


class Bar(msgspec.Struct, frozen=True):
    """One bar of a plot, in percent of its width: value, optional interval, live value and limit."""

    name: str
    value: float
    interval: tuple[float, float] | None
    live: float | None
    limit: float | None
    message: str


class Plot(msgspec.Struct, frozen=True):
    """Values of a release side by side, on one scale that begins at `low` and ends at `high`."""

    title: str
    low: float
    high: float
    bars: tuple[Bar, ...]


class _Measure(msgspec.Struct, frozen=True):
    name: str
    value: float
    interval: tuple[float, float] | None = None
    live: float | None = None
    limit: float | None = None


def draw_report(release: Release) -> tuple[Plot, ...]:
    """Return the plots of a release that have values: nDCG next to the live one, churn, and coverage."""
    scores = [_backtested(report.facts, name) for report in release.gates for name in _recommenders(report.facts)]
    plots = [
        ("nDCG in the back-test", scores),
        (
            "Share of changed members in lists that the live release also has",
            _drift(release, "drift_churn", "max_churn"),
        ),
        ("Share of the catalog that is covered", _drift(release, "drift_coverage", None)),
    ]
    return tuple(_plot(title, measures) for title, measures in plots if measures)


def _recommenders(facts: Mapping[str, Scalar]) -> list[str]:
    return [name.removeprefix("ndcg/") for name in facts if name.startswith("ndcg/")]


def _backtested(facts: Mapping[str, Scalar], name: str) -> _Measure:
    """Return a recommender's nDCG, with the interval of its difference shifted by the live nDCG."""
    live, low, high = (
        _number(facts.get(f"{measure}/{name}")) for measure in ("live_ndcg", "difference_low", "difference_high")
    )
    interval = None if live is None or low is None or high is None else (live + low, live + high)
    return _Measure(name, _number(facts[f"ndcg/{name}"]) or 0.0, interval, live)


def _drift(release: Release, gate: str, limit: str | None) -> list[_Measure]:
    findings = ((member.ref.kind, finding) for member in release.members for finding in member.gates.findings)
    return [
        _Measure(kind, value, limit=_number(finding.params.get(limit)) if limit else None)
        for kind, finding in findings
        if finding.gate == gate and (value := _number(finding.value)) is not None
    ]


def _number(value: Scalar) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _plot(title: str, measures: Sequence[_Measure]) -> Plot:
    seen = [
        n
        for measure in measures
        for n in (measure.value, measure.live, measure.limit, *(measure.interval or ()))
        if n is not None
    ]
    low, high = min(0.0, *seen), max(seen)
    scale = (high - low) or 1.0

    def place(number: float) -> float:
        return round(100 * (number - low) / scale, 2)

    def bar(measure: _Measure) -> Bar:
        interval = (place(measure.interval[0]), place(measure.interval[1])) if measure.interval else None
        words = [f"{measure.name}: {measure.value:.4g}"]
        words += [f"live {measure.live:.4g}"] if measure.live is not None else []
        words += [f"interval {measure.interval[0]:.4g} to {measure.interval[1]:.4g}"] if measure.interval else []
        words += [f"limit {measure.limit:.4g}"] if measure.limit is not None else []
        live, limit = (place(n) if n is not None else None for n in (measure.live, measure.limit))
        return Bar(measure.name, place(measure.value), interval, live, limit, ", ".join(words))

    return Plot(title, low, high, tuple(map(bar, measures)))
