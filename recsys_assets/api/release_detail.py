"""Detail of one release: its evidence, its tree of inputs, and whether its artifacts are still stored.

The tree goes from target to release, artifact, canonical day and raw file, to a depth.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from recsys_assets.api.context import ApiContext
from recsys_assets.api.problems import base_name, redact
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.identity import Target
from recsys_assets.release.documents import Build, CanonicalDay, Input, Label, Member, Release
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import canonical_prefix
from recsys_assets.release.releases import refs_of
from recsys_assets.release.shards import missing_blobs

LEVELS: Final = ("target", "release", "artifact", "canonical day", "raw file")
MAX_CHILDREN: Final = 400  # per node: more than the days of a year
MAX_DAYS: Final = 35  # days shown of a window, and due days after it


class Node(msgspec.Struct, frozen=True):
    """One node of the tree with its inputs. `left_out` counts children beyond the depth or `MAX_CHILDREN`."""

    level: int
    label: str
    id: str
    name: str
    facts: Mapping[str, Scalar]
    children: "tuple[Node, ...]"
    left_out: int


def target_tree(target: Target, release: Release | None, *, depth: int) -> Node:
    """Return a target and, to a depth, the inputs of its release (None if it has no live release)."""
    below = [release] if release else []
    children = tuple(release_tree(recorded, depth=depth - 1) for recorded in below) if depth else ()
    return _node(0, str(target), str(target), {"segment": target.segment}, children, of=len(below))


def release_tree(release: Release, *, depth: int) -> Node:
    """Return a release with its artifacts, their canonical days, and those days' raw files."""
    shown = release.members[:MAX_CHILDREN] if depth > 0 else ()
    children = tuple(artifact_tree(release, member, depth=depth - 1) for member in shown)
    facts: dict[str, Scalar] = {"data_through": release.data_through, "recorded_at": release.recorded_at}
    return _node(1, release.id, release.id[:12], facts, children, of=len(release.members))


def artifact_tree(release: Release, member: Member, *, depth: int) -> Node:
    """Return an artifact with its inputs."""
    days = {f"{_prefix(release)}{day.day}.parquet": day for day in release.canonical}
    shown = member.inputs[:MAX_CHILDREN] if depth > 0 else ()
    children = tuple(_input_tree(used, days.get(used.name), release, depth=depth - 1) for used in shown)
    facts: dict[str, Scalar] = {
        "window_first": member.window_first,
        "window_last": member.window_last,
        "bytes": member.size,
        "gates_passed": member.gates.passed,
    }
    return _node(2, member.ref.version, member.ref.kind, facts, children, of=len(member.inputs))


def day_of_input(name: str, target: Target) -> str | None:
    """Return the canonical day that an input's name refers to, or None for other inputs."""
    prefix = canonical_prefix(target)
    if name.startswith(prefix) and name.endswith(".parquet"):
        return name[len(prefix) : -len(".parquet")]
    return None


def input_name(name: str, target: Target) -> str:
    """Return the public name of an input: its day, or a file name without its folder."""
    day = day_of_input(name, target)
    if day is not None:
        return day
    prefix, colon, path = name.partition(":")
    return f"{prefix} {base_name(path)}" if colon and not path.startswith("//") else base_name(name)


def _input_tree(used: Input, day: CanonicalDay | None, release: Release, *, depth: int) -> Node:
    name = input_name(used.name, Target(release.tenant, release.surface))
    if day is None:  # a catalog, or a day whose record the release does not contain
        level = 3 if day_of_input(used.name, Target(release.tenant, release.surface)) else 4
        return _node(level, used.digest, name, {"bytes": used.size}, (), of=0)
    facts: dict[str, Scalar] = {"bytes": used.size, "gates_passed": day.gates.passed}
    shown: Sequence[Input] = day.inputs[:MAX_CHILDREN] if depth > 0 else ()
    files = tuple(_node(4, file.digest, base_name(file.name), {"bytes": file.size}, (), of=0) for file in shown)
    return _node(3, used.digest, name, facts, files, of=len(day.inputs))


def _node(
    level: int, identifier: str, name: str, facts: Mapping[str, Scalar], children: "tuple[Node, ...]", *, of: int
) -> Node:
    return Node(level, LEVELS[level], identifier, name, facts, children, of - len(children))


def _prefix(release: Release) -> str:
    return canonical_prefix(Target(release.tenant, release.surface))


class InputView(msgspec.Struct, frozen=True):
    """One input by name and SHA-256. File names never include a folder."""

    name: str
    digest: str
    bytes: int


class ArtifactEvidence(msgspec.Struct, frozen=True):
    """One artifact of a release: identity, inputs, build, gate results, and whether it is still stored."""

    kind: str
    version: str
    bytes: int
    digest: str
    stored: bool
    window_first: str
    window_last: str
    passed: bool
    gates: GateReport
    facts: Mapping[str, Scalar]
    inputs: tuple[InputView, ...]
    build: Build


class DayEvidence(msgspec.Struct, frozen=True):
    """One canonical day that a release was built from: its raw files and gate results."""

    day: str
    digest: str
    passed: bool
    gates: GateReport
    inputs: tuple[InputView, ...]


class ReleaseView(msgspec.Struct, frozen=True):
    """One release with all its evidence."""

    id: str
    tenant: str
    surface: str
    segment: str | None
    live: bool
    data_through: str
    recorded_at: str
    parent: str | None
    bad: Label | None
    pinned: Label | None
    artifacts: tuple[ArtifactEvidence, ...]
    days: tuple[DayEvidence, ...]
    gates: tuple[GateReport, ...]  # reports on all artifacts together
    build: Build


class CoveredDay(msgspec.Struct, frozen=True):
    """One day of a release's windows: included, missing, refused by gates, or due but not yet live."""

    day: date
    state: str  # in | missing | refused | wanted


def cover_days(
    release: ReleaseView, reports: Mapping[date, GateReport], *, wanted: date | None
) -> tuple[CoveredDay, ...]:
    """Return the days of all windows, at most the last `MAX_DAYS`, and at most as many due days after them.

    `reports` are gate reports by day. They distinguish refused days from missing ones.
    """
    inside = {date.fromisoformat(covered.day) for covered in release.days}
    end = date.fromisoformat(release.data_through)

    def state(day: date) -> str:
        if day in inside:
            return "in"
        if day in reports and not reports[day].passed:
            return "refused"
        return "missing" if day <= end else "wanted"

    return tuple(CoveredDay(day, state(day)) for day in days_to_cover(release, wanted=wanted))


def days_to_cover(release: ReleaseView, *, wanted: date | None) -> tuple[date, ...]:
    """Return the days that `cover_days` covers."""
    end = date.fromisoformat(release.data_through)
    days = [date.fromisoformat(artifact.window_first) for artifact in release.artifacts]
    days += [date.fromisoformat(artifact.day) for artifact in release.days]
    first = max(min([*days, end]), end - timedelta(days=MAX_DAYS - 1))
    due = min((wanted - end).days, MAX_DAYS) if wanted and wanted > end else 0
    return tuple(first + timedelta(days=n) for n in range((end - first).days + 1 + due))


def view_release(context: ApiContext, target: Target, release: Release, *, live: bool) -> ReleaseView:
    """Return the detail of a release, with one read of the store per artifact and label."""
    missing = set(missing_blobs(context.store, target, refs_of(release)))
    return ReleaseView(
        id=release.id,
        tenant=release.tenant,
        surface=release.surface,
        segment=release.segment,
        live=live,
        data_through=release.data_through,
        recorded_at=release.recorded_at,
        parent=release.parent,
        bad=_label(context, target, Labelled.BAD, release),
        pinned=_label(context, target, Labelled.PINNED, release),
        artifacts=tuple(
            view_member(target, member, stored=missing.isdisjoint(member.refs)) for member in release.members
        ),
        days=tuple(_day(target, day) for day in release.canonical),
        gates=release.gates,
        build=release.build,
    )


def view_member(target: Target, member: Member, *, stored: bool) -> ArtifactEvidence:
    """Return the evidence of one artifact of a release."""
    return ArtifactEvidence(
        kind=member.ref.kind,
        version=member.ref.version,
        bytes=member.size,
        digest=member.ref.digest,
        stored=stored,
        window_first=member.window_first,
        window_last=member.window_last,
        passed=member.gates.passed,
        gates=member.gates,
        facts=member.facts,
        inputs=_inputs(member.inputs, target),
        build=member.build,
    )


def _day(target: Target, day: CanonicalDay) -> DayEvidence:
    return DayEvidence(day.day, day.digest, day.gates.passed, day.gates, _inputs(day.inputs, target))


def _label(context: ApiContext, target: Target, label: Labelled, release: Release) -> Label | None:
    stored = find_label(context.store, target, label, release.id)
    return msgspec.structs.replace(stored, reason=redact(stored.reason)) if stored else None


def _inputs(inputs: tuple[Input, ...], target: Target) -> tuple[InputView, ...]:
    return tuple(InputView(input_name(item.name, target), item.digest, item.size) for item in inputs)
