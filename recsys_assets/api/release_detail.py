"""Detail of one release: its evidence, and whether its artifacts are still stored."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

import msgspec

from recsys_assets.api.context import ApiContext
from recsys_assets.api.lineage import input_name
from recsys_assets.api.problems import redact
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.identity import Target
from recsys_assets.release.documents import Build, CanonicalDay, Input, Label, Member, Release
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.releases import refs_of
from recsys_assets.release.shards import missing_blobs

MAX_DAYS: Final = 35  # days shown of a window, and due days after it


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
