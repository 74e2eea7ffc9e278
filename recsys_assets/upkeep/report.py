"""Report of a release on one page: changes, gates with values, drift, inputs and sizes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from recsys_assets.artifact_format import sharded_kind
from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.evidence import NO_BASELINE, Finding, GateReport, Scalar, Verdict
from recsys_assets.identity import Target
from recsys_assets.kind_descriptions import describe
from recsys_assets.release.documents import Member, Release
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.releases import find_readable_release
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.diff import KindDiff, diff
from recsys_assets.upkeep.report_document import Report, Section, shown

_DRIFT = "drift_"
_DIGITS = 12
NAMED = 3  # ids in a sentence
COMPARED = 1000  # rows per kind examined for the text
SHORT = 12  # digits of a hash as displayed


def section_of_candidate(report: GateReport) -> Section:
    """Return the section of a gate report on all artifacts together: one sentence per gate, and a table of its numbers.

    A number is named `name`, or `name/kind` if it belongs to one kind. The table has a column per kind.
    """
    numbers = [(*name.partition("/")[::2], value) for name, value in report.facts.items()]
    kinds = dict.fromkeys(kind for _, kind, _ in numbers if kind)
    values = {(name, kind): value for name, kind, value in numbers}
    names = dict.fromkeys(name for name, _, _ in numbers)
    return Section(
        report.subject.capitalize(),
        message=tuple(f"{finding.gate} {finding.verdict.value}: {finding.message}" for finding in report.findings),
        columns=("number", "all", *kinds) if numbers else (),
        rows=tuple((name, *(values.get((name, kind)) for kind in ("", *kinds))) for name in names),
    )


def drift(members: Sequence[Member]) -> Section:
    """Return the section of the drift gates against the formerly live artifacts, one column per kind."""
    return _by_kind("Drift from live", members, lambda finding: finding.gate.startswith(_DRIFT))


def gates(members: Sequence[Member]) -> Section:
    """Return the section of each artifact's own gates, one column per kind."""
    return _by_kind("Gates", members, lambda finding: not finding.gate.startswith(_DRIFT))


def artifacts(members: Sequence[Member], before: Sequence[Member]) -> Section:
    """Return the section of the artifacts, with their sizes before and after."""
    sizes = {member.ref.kind: member.size for member in before}
    return Section(
        "Artifacts",
        columns=("kind", "version", "window", "rows", "bytes", "bytes before"),
        rows=tuple(
            (
                member.ref.kind,
                member.ref.version[:_DIGITS],
                _window(member),
                member.facts.get("rows"),
                member.size,
                sizes.get(member.ref.kind),
            )
            for member in members
        ),
    )


def inputs(release: Release) -> Section:
    """Return the section of the inputs: each canonical day with its raw files, and other inputs."""
    days = tuple(
        (day.day, day.digest[:_DIGITS], len(day.inputs), sum(used.size for used in day.inputs), _summary(day.gates))
        for day in release.canonical
    )
    named = {day.digest for day in release.canonical}
    others = {used.digest: used for member in release.members for used in member.inputs if used.digest not in named}
    rest = tuple(
        (used.name.rpartition("/")[2], digest[:_DIGITS], None, used.size, None) for digest, used in others.items()
    )
    return Section("Inputs", columns=("input", "digest", "raw files", "bytes", "gates"), rows=days + rest)


def _by_kind(title: str, members: Sequence[Member], wanted: Callable[[Finding], bool]) -> Section:
    """Return a table with a row per gate and a column per kind. Findings that did not pass are listed above it."""
    findings = {
        (finding.gate, sharded_kind(member.ref.kind)): finding
        for member in members
        for finding in member.gates.findings
        if wanted(finding)
    }
    kinds = list(
        dict.fromkeys(sharded_kind(member.ref.kind) for member in members)
    )  # a single object next to shards counts once
    names = dict.fromkeys(gate for gate, _ in findings)
    return Section(
        title,
        message=tuple(
            f"{kind}: {finding.gate} {finding.verdict.value}: {finding.message}"
            for (_, kind), finding in findings.items()
            if finding.verdict is not Verdict.PASSED
        ),
        columns=("gate", *kinds),
        rows=tuple((gate, *(_cell(findings.get((gate, kind))) for kind in kinds)) for gate in names),
    )


def _cell(finding: Finding | None) -> Scalar:
    if finding is None:
        return None
    if finding.verdict is Verdict.PASSED:
        return _without_number(finding) if finding.value is None else finding.value
    return f"{shown(finding.value)} ({finding.verdict.value})"


def _without_number(finding: Finding) -> str:
    """Return the cell of a finding without a number. A drift gate without a baseline did not compare anything."""
    if finding.message == NO_BASELINE:
        return NO_BASELINE
    return "not compared" if finding.gate.startswith(_DRIFT) else "passed"


def _window(member: Member) -> str:
    if member.window_first == member.window_last:
        return member.window_last
    return f"{member.window_first} to {member.window_last}"


def _summary(report: GateReport) -> str:
    message = [f"{finding.gate} {finding.verdict.value}" for finding in report.findings if not _passed(finding)]
    return ", ".join(message) or f"{len(report.findings)} passed"


def _passed(finding: Finding) -> bool:
    return finding.verdict is Verdict.PASSED


class _RowTerms(msgspec.Struct, frozen=True):
    """Names for the rows of a kind (singular, plural) and for the artifact that contains them."""

    one: str
    many: str
    place: str


_ROWS: Final = _RowTerms("row", "rows", "the artifact")


def describe_change(difference: KindDiff) -> str:
    """Return text on the difference of one kind: numbers of rows that entered, left and moved, and examples."""
    if difference.before is None:
        return f"{difference.kind} is new, with {_number(difference.rows_after, _words(difference))}."
    if difference.after is None:
        return f"{difference.kind} was removed; it had {_number(difference.rows_before, _words(difference))}."
    if difference.counts is None:
        return f"{difference.kind}: {difference.message}."
    if not any(difference.counts.values()):
        return f"{difference.kind}: the same rows as before, in different bytes."
    sizes = f"from {difference.rows_before or 0:,} to {difference.rows_after or 0:,} rows"
    counts = _counts(difference, difference.counts)
    return f"{difference.kind}, {sizes}: {counts}.{_first(difference, difference.counts)}{_movers(difference)}"


def _words(difference: KindDiff) -> _RowTerms:
    description = describe(difference.kind)
    return _RowTerms(*description.nouns, description.place) if description else _ROWS


def _number(count: int | None, words: _RowTerms) -> str:
    return f"{count or 0:,} {words.one if count == 1 else words.many}"


def _counts(difference: KindDiff, counts: Mapping[str, int]) -> str:
    words = _words(difference)
    moved = "changed place" if difference.is_ranking else "changed"
    parts = [
        f"{_number(counts['entered'], words)} entered {words.place}" if counts["entered"] else "",
        f"{_number(counts['left'], words)} left it" if counts["left"] else "",
        f"{_number(counts['moved'], words)} {moved}" if counts["moved"] else "",
    ]
    return ", ".join(part for part in parts if part)


def _first(difference: KindDiff, counts: Mapping[str, int]) -> str:
    """Return text on the first rows that entered and left, in the artifact's order (strongest first in a ranking)."""
    message = ""
    if difference.entered:
        message += f" New: {_some(difference.entered, counts['entered'])}."
    if difference.left:
        message += f" Gone: {_some(difference.left, counts['left'])}."
    return message


def _movers(difference: KindDiff) -> str:
    """Return text on the rows that rose and fell most, empty unless the kind is a ranking."""
    if not difference.is_ranking:
        return ""
    by_rise = sorted(difference.moved, key=lambda row: (row[2] - row[1], row[0]))
    risen = [row for row in by_rise if row[2] < row[1]][:NAMED]
    fallen = [row for row in reversed(by_rise) if row[2] > row[1]][:NAMED]
    message = ""
    for label, rows in (("Risen", risen), ("Fallen", fallen)):
        if rows:
            message += f" {label} most: {', '.join(f'{row} ({before} to {after})' for row, before, after in rows)}."
    return message


def _some(ids: Sequence[str], count: int) -> str:
    more = count - NAMED
    return ", ".join(ids[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def report_release(store: ObjectStore, target: Target, release: Release, *, live: bool) -> Report:
    """Return the report of a recorded release, compared with the release that was live when it was recorded.

    Everything except the comparison comes from the record. If data for the comparison is missing (collected, damaged),
    the report states that instead, and no error is raised.
    """
    before = _before(store, target, release)
    return Report(
        title=f"Release {release.id[:SHORT]} of {target}",
        facts=(
            ("release", release.id),
            ("state", _state(store, target, release, live=live)),
            ("data through", release.data_through),
            ("recorded", release.recorded_at),
            ("live before it", release.parent[:SHORT] if release.parent else "nothing"),
            ("gates", _verdict(release)),
            ("bytes", sum(member.size for member in release.members)),
            ("code", release.build.code),
            ("configuration", release.build.config[:SHORT]),
        ),
        sections=(
            Section("What changed", message=_changes(store, target, release)),
            *(section_of_candidate(report) for report in release.gates),
            drift(release.members),
            gates(release.members),
            artifacts(release.members, before.members if before else ()),
            inputs(release),
        ),
    )


def _before(store: ObjectStore, target: Target, release: Release) -> Release | None:
    return find_readable_release(store, target, release.parent)  # a damaged record is reported in the text


def _state(store: ObjectStore, target: Target, release: Release, *, live: bool) -> str:
    state = "live" if live else "not live"
    try:
        label = find_label(store, target, Labelled.BAD, release.id)
    except CorruptObjectError as error:
        return f"{state}, marked bad: {error}"
    return f"{state}, marked bad at {label.at} by {label.actor}: {label.reason}" if label else state


def _verdict(release: Release) -> str:
    reports = [*(day.gates for day in release.canonical), *(member.gates for member in release.members), *release.gates]
    findings = [finding for report in reports for finding in report.findings]
    advised = sum(1 for finding in findings if finding.verdict is Verdict.ADVISED)
    refused = sum(1 for finding in findings if not finding.ok)
    without_baseline = sum(1 for finding in findings if finding.message == NO_BASELINE)
    message = f"{len(findings) - advised - refused - without_baseline} passed, {advised} advised, {refused} refused"
    return f"{message}, {without_baseline} without a baseline" if without_baseline else message


def _changes(store: ObjectStore, target: Target, release: Release) -> tuple[str, ...]:
    if release.parent is None:
        return ("This is the first release: nothing was live to compare it with.",)
    try:
        differences = diff(store, target, release.parent, release.id, shown=COMPARED)
    except (NotFoundError, CorruptObjectError) as error:
        return (f"The release that was live before can no longer be compared: {error}",)
    return tuple(describe_change(kind) for kind in differences.kinds)
