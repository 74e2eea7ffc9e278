"""The report of a release: one page of what changed, in words, of gates with numbers, drift, inputs and size."""

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.identity import Target
from recsys_assets.manifest.diff import diff
from recsys_assets.manifest.documents import Release
from recsys_assets.manifest.labels import Labelled, find_label
from recsys_assets.manifest.releases import find_release
from recsys_assets.manifest.report_document import Report, Section
from recsys_assets.manifest.report_sections import artifacts, drift, gates, inputs, whole
from recsys_assets.manifest.report_words import tell_change
from recsys_assets.storage.store import ObjectStore

COMPARED = 1000  # rows of a kind whose change is looked at one by one for the words
SHORT = 12  # digits of a hash that people are shown


def report_release(store: ObjectStore, target: Target, release: Release, *, live: bool) -> Report:
    """Return the report of a recorded release, compared with the one that was live when it was recorded.

    Everything but the comparison stands in the record. What the comparison needs and is not there any more (collected,
    damaged) is said instead of told, and raises nothing.
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
            Section("What changed", told=_changes(store, target, release)),
            *(whole(report) for report in release.gates),
            drift(release.members),
            gates(release.members),
            artifacts(release.members, before.members if before else ()),
            inputs(release),
        ),
    )


def _before(store: ObjectStore, target: Target, release: Release) -> Release | None:
    try:
        return find_release(store, target, release.parent) if release.parent else None
    except CorruptObjectError:
        return None  # the words say so


def _state(store: ObjectStore, target: Target, release: Release, *, live: bool) -> str:
    state = "live" if live else "not live"
    try:
        label = find_label(store, target, Labelled.BAD, release.id)
    except CorruptObjectError as error:
        return f"{state}, marked bad: {error}"
    return f"{state}, marked bad at {label.at} by {label.actor}: {label.reason}" if label else state


def _verdict(release: Release) -> str:
    reports = [*(day.gates for day in release.canonical), *(one.gates for one in release.members), *release.gates]
    findings = [finding for report in reports for finding in report.findings]
    advised = sum(1 for finding in findings if finding.verdict is Verdict.ADVISED)
    refused = sum(1 for finding in findings if not finding.ok)
    alone = sum(1 for finding in findings if finding.message == NO_BASELINE)
    told = f"{len(findings) - advised - refused - alone} passed, {advised} advised, {refused} refused"
    return f"{told}, {alone} without a baseline" if alone else told


def _changes(store: ObjectStore, target: Target, release: Release) -> tuple[str, ...]:
    if release.parent is None:
        return ("This is the first release: nothing was live to compare it with.",)
    try:
        found = diff(store, target, release.parent, release.id, shown=COMPARED)
    except (NotFoundError, CorruptObjectError) as error:
        return (f"What was live before it cannot be compared with any more: {error}",)
    return tuple(tell_change(kind) for kind in found.kinds)
