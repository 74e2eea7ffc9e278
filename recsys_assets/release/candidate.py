"""A release candidate: the staged artifacts of a day, read back and verified against the required gates."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, partial

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from recsys_assets.artifact_format import sharded_kind
from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.evidence import CANONICAL, LEFT_OUT, MODE, OVERRIDDEN, Finding, GateReport, Verdict
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, find_document, if_readable
from recsys_assets.release.documents import CanonicalDay, CanonicalRecord, Member, StagedArtifact
from recsys_assets.release.forgotten_users import ForgottenUsers, is_anybody_forgotten, read_forgotten_of
from recsys_assets.release.layout import (
    canonical_key,
    canonical_record_key,
)
from recsys_assets.release.pointer import release_id_of
from recsys_assets.release.staged import find_canonical_report, find_report, find_report_together, read_staged_location
from recsys_assets.storage.run_cache import prefetch
from recsys_assets.storage.store import ObjectStore


class Requirement(msgspec.Struct, frozen=True):
    """The gates, and the hash of their policy, that the report of a subject must contain."""

    policy: str
    gates: frozenset[str]
    overridden: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])  # gate -> reason of the override
    answered: Mapping[str, Mapping[str, str]] = msgspec.field(
        default_factory=dict[str, Mapping[str, str]]
    )  # the same, by version
    whole: bool = False  # the subject is the whole candidate: its report contains the release id


class Candidate(msgspec.Struct, frozen=True):
    """Artifacts of one day that passed every required gate, each alone and together."""

    day: date
    members: tuple[Member, ...]
    canonical: tuple[CanonicalDay, ...]
    gates: tuple[GateReport, ...] = ()  # reports on the whole candidate and on each excluded kind
    marks: Mapping[date, str | None] = msgspec.field(
        default_factory=dict[date, str | None]
    )  # day -> fingerprint of the forgotten users that it excludes

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """Every object of the candidate: its blobs, its indexes, and their shards."""
        return tuple(ref for member in self.members for ref in member.refs)

    @property
    def versions(self) -> dict[str, str]:
        """Version of each kind, which together identify a release."""
        return {member.ref.kind: member.ref.version for member in self.members}

    @property
    def left_out(self) -> dict[str, str]:
        """Reason for each built kind that is excluded from the release, by kind."""
        return kinds_left_out(self.gates)

    def losses(self, live: Collection[str]) -> tuple[str, ...]:
        """Return the kinds of `live` that are excluded without an override or a gate mode that allows it."""
        allowed = {OVERRIDDEN, MODE}  # a mode is written only where it is not `required`
        answered = {
            report.subject
            for report in self.gates
            for finding in report.findings
            if LEFT_OUT in finding.params and allowed & finding.params.keys()
        }
        served = {sharded_kind(kind) for kind in live}
        return tuple(kind for kind in self.left_out if kind in served and kind not in answered)

    @property
    def overridden(self) -> tuple[str, ...]:
        """Every refusal that was overridden, as "subject: gate"."""
        return tuple(
            f"{report.subject}: {finding.gate}"
            for report in (
                *(evidence.gates for evidence in self.canonical),
                *(evidence.gates for evidence in self.members),
                *self.gates,
            )
            for finding in report.findings
            if OVERRIDDEN in finding.params
        )


def read_candidate(
    store: ObjectStore,
    target: Target,
    day: date,
    *,
    kinds: Sequence[str],
    requirements: Mapping[str, Requirement],
) -> Candidate:
    """Return the day's artifacts with their evidence, checked against `requirements` (by kind, and "canonical").

    A subject whose requirement is `whole` needs a report on exactly these artifacts together.

    Raises `RefusedError` that lists every subject and gate that is missing, refused, or was evaluated on other bytes or
    with other limits, and `ConfigurationError` if a kind has no requirement.
    """
    unnamed = sorted({*kinds, CANONICAL} - set(requirements))
    if unnamed or not kinds:
        raise ConfigurationError(
            f"{target}: no gates are required of {unnamed or 'any kind'}, so a release cannot be verified"
        )
    reading = _CandidateReading(store, target, day, requirements)
    built = [reading.members(kind) for kind in kinds]
    members = [member for of_kind in built for member in of_kind or ()]
    if not members and not reading.faults:
        reading.faults.append("no kind has rows, so there is nothing to ship: fix the input")
    canonical = [proven for used in sorted(reading.days) if (proven := reading.canonical(used)) is not None]
    whole = (
        sorted(subject for subject, requirement in requirements.items() if requirement.whole)
        if members and None not in built
        else []
    )
    gates = [report for subject in whole if (report := reading.whole(subject, members)) is not None]
    gates += reading.left_out
    if reading.faults:
        raise RefusedError(f"{target} {day} does not ship: " + "; ".join(reading.faults), refused=reading.refused)
    return Candidate(day, tuple(members), tuple(canonical), tuple(gates), reading.marks)


def kinds_left_out(reports: Iterable[GateReport]) -> dict[str, str]:
    """Return the reason for each kind excluded from a release, by kind, from the reports in the release."""
    return {report.subject: reason for report in reports if (reason := report.left_out_because) is not None}


def check_forgotten(store: ObjectStore, target: Target, candidate: Candidate) -> None:
    """Raise `ConflictError` if a canonical day of the candidate may contain a user that was forgotten since.

    Called at the swap, after the pointer was read. `forget` writes its note, then swaps the pointer to itself, so
    either the note is seen here or our swap loses.
    """
    forgotten = read_forgotten_of(store, target) if is_anybody_forgotten(store, target) else ForgottenUsers()
    for day, mark in sorted(candidate.marks.items()):
        if forgotten.mark(day) != mark:
            raise ConflictError(
                f"{target}: {CANONICAL} {day} was written before a user was forgotten and may contain that user: "
                "ship again; if that is refused, build the artifacts again"
            )


@dataclass
class _CandidateReading:
    """Reader of a day's staged artifacts that collects every fault instead of stopping at the first."""

    store: ObjectStore
    target: Target
    day: date
    requirements: Mapping[str, Requirement]
    faults: list[str] = field(default_factory=list[str])
    refused: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # subject and gate
    marks: dict[date, str | None] = field(default_factory=dict[date, str | None])
    days: set[date] = field(default_factory=set[date])  # canonical days that the artifacts were built from
    left_out: list[GateReport] = field(default_factory=list[GateReport])  # reports of empty kinds that may be empty

    @cached_property
    def records(self) -> "_Records":
        """Canonical records, each read once for all kinds."""
        return _Records(self.store, self.target)

    def members(self, kind: str) -> tuple[Member, ...] | None:
        """Return the members of one kind with their evidence, or None after noting a fault.

        Empty for a kind without rows that may be empty. Its report is added to `left_out`.
        """
        try:
            staged = read_staged_location(self.store, self.target, self.day, kind).artifact
            window = Window(date.fromisoformat(staged.window_first), date.fromisoformat(staged.window_last))
        except NotFoundError:
            self.faults.append(f"{kind}: was not built for this day: build it")
            return None
        except (CorruptObjectError, ConfigurationError, ValueError) as error:
            self.faults.append(f"{kind}: {error}")
            return None
        if staged.kind != kind or window.last != self.day:
            self.faults.append(f"{kind}: the staged artifact is {staged.ref.kind} of {window.last}: build it again")
            return None
        self._check_inputs(kind, staged, window)
        read = partial(find_report, self.store, self.target, self.day, staged)
        report = self._report(read, kind, (kind, staged.ref.version))
        if report is None:
            return None
        if report.left_out_because is not None:
            self.left_out.append(report)
            return ()
        return _members_of(staged, report)

    def canonical(self, day: date) -> CanonicalDay | None:
        """Return one canonical day with its evidence, or None after noting a fault."""
        record = self.records.of(day)
        if not isinstance(record, CanonicalRecord):
            return None  # noted with the artifact that uses this day
        read = partial(find_canonical_report, self.store, self.target, day, record)
        report = self._report(read, f"{CANONICAL} {day}", (CANONICAL, record.digest))
        if report is None:
            if self._is_refused(day, record):
                self.faults.append(f"the artifacts contain events of {day}: build them again, which excludes that day")
            return None
        self.marks[day] = None if record.erased is UNSET else record.erased
        return CanonicalDay(day=day.isoformat(), digest=record.digest, inputs=record.inputs, gates=report)

    def whole(self, subject: str, members: Sequence[Member]) -> GateReport | None:
        """Return the gate report on exactly these artifacts together, or None after noting a fault."""
        release_id = release_id_of(self.target, {member.ref.kind: member.ref.version for member in members})
        read = partial(find_report_together, self.store, self.target, self.day, subject)
        return self._report(read, subject, (subject, release_id))

    def _check_inputs(self, kind: str, staged: StagedArtifact, window: Window) -> None:
        """Note every day of the window whose stored events differ from those the artifact was built from."""
        used = {item.name: item.digest for item in staged.inputs}
        keys = {day: canonical_key(self.target, day) for day in window.days}
        if not used.keys() & set(keys.values()):
            return  # built from the catalog
        records = [canonical_record_key(self.target, day) for day in window.days]
        prefetch(self.store, records, max_bytes=MAX_DOCUMENT_BYTES)
        for day, key in keys.items():
            record = self.records.of(day)
            if isinstance(record, str):
                self.faults.append(f"{kind}: {record}")
            elif key not in used and record is not None:
                if not self._is_refused(day, record):
                    self.faults.append(
                        f"{kind}: {CANONICAL} {day} was added or accepted after it was built: build it again"
                    )
            elif key in used and (record is None or record.digest != used[key]):
                self.faults.append(f"{kind}: {CANONICAL} {day} was rebuilt since: build it again")
            elif key in used:
                self.days.add(day)

    def _is_refused(self, day: date, record: CanonicalRecord) -> bool:
        """Return whether a day is excluded correctly: its gates refused exactly these bytes by the current limits."""
        report = if_readable(lambda: find_canonical_report(self.store, self.target, day, record))
        judged = (CANONICAL, record.digest, self.requirements[CANONICAL].policy)
        return (
            day < self.day
            and report is not None
            and (report.subject, report.version, report.policy) == judged
            and bool(report.refusals)
        )

    def _report(
        self, read: Callable[[], GateReport | None], subject: str, judged: tuple[str, str]
    ) -> GateReport | None:
        """Return the report if it covers `judged` (subject, version) and passes. Otherwise note each fault by gate."""
        requirement = self.requirements[judged[0]]
        try:
            report = read()
        except CorruptObjectError as error:
            self.faults.append(f"{subject}: {error}")
            return None
        if report is None:
            gates = ", ".join(sorted(requirement.gates))
            self.faults.append(f"{subject}: gates {gates} did not run, or crashed: run the check")
            return None
        report = without_overridden(report, {**requirement.answered.get(judged[1], {}), **requirement.overridden})
        faults = _shortcomings(report, requirement, judged)
        self.faults.extend(f"{subject}: {fault}" for fault in faults)
        if report.version == judged[1]:
            self.refused.extend((subject, finding.gate) for finding in report.refusals if finding.is_judgement)
        return None if faults else report


@dataclass(slots=True)
class _Records:
    store: ObjectStore
    target: Target
    read: dict[date, CanonicalRecord | str | None] = field(default_factory=dict[date, CanonicalRecord | str | None])

    def of(self, day: date) -> CanonicalRecord | str | None:
        """Return a day's record, None if there is none, or the fault that makes it unreadable."""
        if day not in self.read:
            try:
                self.read[day] = find_document(self.store, canonical_record_key(self.target, day), CanonicalRecord)
            except CorruptObjectError as error:
                self.read[day] = str(error)
        return self.read[day]


def _members_of(staged: StagedArtifact, report: GateReport) -> tuple[Member, ...]:
    """Return the members of a staged artifact: the artifact, or its index and, if built, its single object.

    The report covers the index, whose bytes contain the hashes of every shard and of the single object.
    """
    shards = staged.shards if isinstance(staged.shards, UnsetType) else staged.shards.refs
    return tuple(
        Member(
            ref=ref,
            window_first=staged.window_first,
            window_last=staged.window_last,
            inputs=staged.inputs,
            facts=staged.facts,
            gates=report,
            build=staged.build,
            shards=shards if ref == staged.ref else UNSET,
        )
        for ref in staged.named
    )


def without_overridden(report: GateReport, overridden: Mapping[str, str]) -> GateReport:
    """Return the report with each overridden refusal turned into advice that carries the reason of the override."""

    def answered(finding: Finding) -> Finding:
        if finding.ok or finding.gate not in overridden:
            return finding
        reason = overridden[finding.gate]
        return replace(
            finding,
            verdict=Verdict.ADVISED,
            params={**finding.params, OVERRIDDEN: reason},
            message=f"overridden ({reason}): {finding.message}",
        )

    return replace(report, findings=tuple(answered(finding) for finding in report.findings))


def _shortcomings(report: GateReport, requirement: Requirement, judged: tuple[str, str]) -> list[str]:
    """Return the faults of a report as evidence for `judged`, one sentence per gate, empty if it suffices."""
    subject, version = judged
    if report.subject != subject or report.version != version:
        return [f"its gates evaluated {report.subject} {report.version[:12]}, not {version[:12]}: run the check"]
    if report.policy != requirement.policy:
        return ["its gates used other limits than the configuration: run the check"]
    missing = sorted(requirement.gates - {finding.gate for finding in report.findings})
    faults = [f"gate {gate} did not run, or crashed: run the check" for gate in missing]
    faults += report.refused_because
    if not faults and not report.passed:
        faults = ["its report is empty, which is no evidence: run the check"]
    return faults
