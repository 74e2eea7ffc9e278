"""A release candidate: what a day staged, read back from the store and proven against the gates it must have passed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from recsys_assets.errors import CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.evidence import GateReport
from recsys_assets.identity import ArtifactRef, Target, rfc3339
from recsys_assets.manifest.documents import (
    Build,
    CanonicalDay,
    CanonicalRecord,
    Member,
    Release,
    StagedArtifact,
    read_document,
)
from recsys_assets.manifest.layout import (
    canonical_gates_key,
    canonical_key,
    canonical_record_key,
    staged_gates_key,
    staged_key,
)
from recsys_assets.manifest.pointer import release_id_of
from recsys_assets.storage.store import ObjectStore

CANONICAL = "canonical"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a subject's report must hold to prove it: these gates, judged by this policy."""

    policy: str
    gates: frozenset[str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Artifacts of one day that were proven to have passed every required gate."""

    day: date
    members: tuple[Member, ...]
    canonical: tuple[CanonicalDay, ...]

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """The blobs of the candidate."""
        return tuple(member.ref for member in self.members)

    @property
    def versions(self) -> dict[str, str]:
        """Version by kind: what names a release."""
        return {ref.kind: ref.version for ref in self.refs}


def read_candidate(
    store: ObjectStore,
    target: Target,
    day: date,
    *,
    kinds: Sequence[str],
    requirements: Mapping[str, Requirement],
) -> Candidate:
    """Return the day's artifacts with their evidence, complete against `requirements` (by kind, and "canonical").

    Raises `RefusedError` naming every subject and gate that is missing, refused, of other bytes or of other limits.
    """
    faults: list[str] = []
    members = [m for kind in kinds if (m := _member(store, target, day, kind, requirements[kind], faults)) is not None]
    days = sorted({entry for m in members for entry in _canonical_inputs(target, m)})
    canonical = [
        c
        for d, digest in days
        if (c := _canonical(store, target, d, digest, requirements[CANONICAL], faults)) is not None
    ]
    if faults:
        raise RefusedError(f"{target} {day} does not ship: " + "; ".join(faults))
    return Candidate(day, tuple(members), tuple(canonical))


def release_of(target: Target, candidate: Candidate, *, build: Build, now: datetime, parent: str | None) -> Release:
    """Return the record of a candidate; its id depends on nothing but target, kinds and versions."""
    return Release(
        id=release_id_of(target, candidate.versions),
        tenant=target.tenant,
        surface=target.surface,
        segment=target.segment,
        data_through=candidate.day.isoformat(),
        members=candidate.members,
        canonical=candidate.canonical,
        build=build,
        recorded_at=rfc3339(now),
        parent=parent,
    )


def _member(
    store: ObjectStore,
    target: Target,
    day: date,
    kind: str,
    requirement: Requirement,
    faults: list[str],
) -> Member | None:
    try:
        staged = read_document(store, staged_key(target, day, kind), StagedArtifact)
    except NotFoundError:
        faults.append(f"{kind}: was not built for this day: build it")
        return None
    except CorruptObjectError as error:
        faults.append(f"{kind}: {error}")
        return None
    if staged.ref.kind != kind:
        faults.append(f"{kind}: the staged reference is of {staged.ref.kind}: build it again")
        return None
    report = _report(store, staged_gates_key(target, day, kind), kind, staged.ref.version, requirement, faults)
    if report is None:
        return None
    return Member(
        ref=staged.ref,
        window_first=staged.window_first,
        window_last=staged.window_last,
        inputs=staged.inputs,
        facts=staged.facts,
        gates=report,
    )


def _canonical_inputs(target: Target, member: Member) -> list[tuple[str, str]]:
    """Return (day, digest) of each canonical day that an artifact was made from."""
    first, last = date.fromisoformat(member.window_first), date.fromisoformat(member.window_last)
    days = {
        canonical_key(target, date.fromordinal(n)): date.fromordinal(n)
        for n in range(first.toordinal(), last.toordinal() + 1)
    }
    return [(days[item.name].isoformat(), item.digest) for item in member.inputs if item.name in days]


def _canonical(
    store: ObjectStore,
    target: Target,
    day: str,
    digest: str,
    requirement: Requirement,
    faults: list[str],
) -> CanonicalDay | None:
    subject = f"canonical {day}"
    on = date.fromisoformat(day)
    try:
        record = read_document(store, canonical_record_key(target, on), CanonicalRecord)
    except (NotFoundError, CorruptObjectError) as error:
        faults.append(f"{subject}: {error}")
        return None
    if record.digest != digest:
        faults.append(f"{subject}: was rebuilt since the artifacts were made from it: build them again")
        return None
    report = _report(store, canonical_gates_key(target, on), subject, digest, requirement, faults)
    return None if report is None else CanonicalDay(day=day, digest=digest, inputs=record.inputs, gates=report)


def _report(
    store: ObjectStore,
    key: str,
    subject: str,
    version: str,
    requirement: Requirement,
    faults: list[str],
) -> GateReport | None:
    """Return the report if it proves the subject; else say why not, by gate."""
    try:
        report = read_document(store, key, GateReport)
    except NotFoundError:
        faults.append(f"{subject}: gates {', '.join(sorted(requirement.gates))} did not run, or crashed: run the check")
        return None
    except CorruptObjectError as error:
        faults.append(f"{subject}: {error}")
        return None
    found = {finding.gate: finding for finding in report.findings}
    missing = sorted(requirement.gates - set(found))
    if report.version != version:
        faults.append(
            f"{subject}: its gates judged other bytes ({report.version[:12]}, now {version[:12]}): run the check"
        )
    elif report.policy != requirement.policy:
        faults.append(f"{subject}: its gates judged by other limits than the configuration's: run the check")
    elif missing:
        faults.append(f"{subject}: gates {', '.join(missing)} are missing from its report: run the check")
    elif report.refusals:
        faults.extend(f"{subject}: gate {f.gate} refused: {f.message}" for f in report.refusals)
    else:
        return report
    return None
