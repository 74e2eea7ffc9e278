"""The sections of a release's report that come from its record alone: gates, drift, artifacts, inputs."""

from collections.abc import Callable, Sequence

from recsys_assets.evidence import NO_BASELINE, Finding, GateReport, Scalar, Verdict
from recsys_assets.manifest.documents import Member, Release
from recsys_assets.manifest.report_document import Section, shown
from recsys_assets.sharding import sharded_kind

_DRIFT = "drift_"
_DIGITS = 12


def whole(report: GateReport) -> Section:
    """Return what gates said of all artifacts together: a sentence each, and the numbers that they judged by.

    Numbers are called `name`, or `name/kind` if they are of one kind: those stand in a column a kind.
    """
    found = [(*name.partition("/")[::2], value) for name, value in report.facts.items()]
    kinds = dict.fromkeys(kind for _, kind, _ in found if kind)
    values = {(name, kind): value for name, kind, value in found}
    names = dict.fromkeys(name for name, _, _ in found)
    return Section(
        report.subject.capitalize(),
        told=tuple(f"{finding.gate} {finding.verdict.value}: {finding.message}" for finding in report.findings),
        columns=("number", "all", *kinds) if found else (),
        rows=tuple((name, *(values.get((name, kind)) for kind in ("", *kinds))) for name in names),
    )


def drift(members: Sequence[Member]) -> Section:
    """Return how far each artifact lies from the one that was live, a column a kind."""
    return _by_kind("Drift from live", members, lambda finding: finding.gate.startswith(_DRIFT))


def gates(members: Sequence[Member]) -> Section:
    """Return what each artifact's own gates found, a column a kind."""
    return _by_kind("Gates", members, lambda finding: not finding.gate.startswith(_DRIFT))


def artifacts(members: Sequence[Member], before: Sequence[Member]) -> Section:
    """Return the artifacts, and their size beside the one before."""
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
    """Return what the release was made from: each canonical day with its raw files, and what else was read."""
    days = tuple(
        (day.day, day.digest[:_DIGITS], len(day.inputs), sum(one.size for one in day.inputs), _summary(day.gates))
        for day in release.canonical
    )
    named = {day.digest for day in release.canonical}
    others = {used.digest: used for member in release.members for used in member.inputs if used.digest not in named}
    rest = tuple(
        (one.name.rpartition("/")[2], digest[:_DIGITS], None, one.size, None) for digest, one in others.items()
    )
    return Section("Inputs", columns=("input", "digest", "raw files", "bytes", "gates"), rows=days + rest)


def _by_kind(title: str, members: Sequence[Member], wanted: Callable[[Finding], bool]) -> Section:
    """Return a row a gate and a column a kind; what did not pass is told in full above the table."""
    found = {
        (finding.gate, sharded_kind(member.ref.kind)): finding
        for member in members
        for finding in member.gates.findings
        if wanted(finding)
    }
    kinds = list(dict.fromkeys(sharded_kind(member.ref.kind) for member in members))  # an object beside shards: once
    names = dict.fromkeys(gate for gate, _ in found)
    return Section(
        title,
        told=tuple(
            f"{kind}: {finding.gate} {finding.verdict.value}: {finding.message}"
            for (_, kind), finding in found.items()
            if finding.verdict is not Verdict.PASSED
        ),
        columns=("gate", *kinds),
        rows=tuple((gate, *(_cell(found.get((gate, kind))) for kind in kinds)) for gate in names),
    )


def _cell(finding: Finding | None) -> Scalar:
    if finding is None:
        return None
    if finding.verdict is Verdict.PASSED:
        return _without_number(finding) if finding.value is None else finding.value
    return f"{shown(finding.value)} ({finding.verdict.value})"


def _without_number(finding: Finding) -> str:
    """Return what stands in place of a number: a drift gate that found nothing to compare has not passed anything."""
    if finding.message == NO_BASELINE:
        return NO_BASELINE
    return "not compared" if finding.gate.startswith(_DRIFT) else "passed"


def _window(member: Member) -> str:
    if member.window_first == member.window_last:
        return member.window_last
    return f"{member.window_first} to {member.window_last}"


def _summary(report: GateReport) -> str:
    told = [f"{finding.gate} {finding.verdict.value}" for finding in report.findings if not _passed(finding)]
    return ", ".join(told) or f"{len(report.findings)} passed"


def _passed(finding: Finding) -> bool:
    return finding.verdict is Verdict.PASSED
