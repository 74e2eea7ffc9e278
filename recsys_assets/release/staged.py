"""Gate reports in the store: each in one document with its subject, a canonical day or a staged artifact."""

from datetime import date
from functools import partial

import msgspec
from msgspec import UNSET

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.evidence import GateReport
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import decode, encode, find_document, find_stored, if_readable
from recsys_assets.release.documents import CANONICAL_FORMAT, STAGED_FORMAT, CanonicalRecord, StagedArtifact, StagedDay
from recsys_assets.release.layout import (
    canonical_gates_key,
    canonical_record_key,
    staged_day_key,
    staged_gates_key,
    staged_key,
)
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.storage.store import ObjectStore


def find_canonical_report(store: ObjectStore, target: Target, day: date, record: CanonicalRecord) -> GateReport | None:
    """Return the gate report of a canonical day, or None if no gates ran. Its `version` is the evaluated digest.

    Format 1 stored it in a separate document. Raises `CorruptObjectError` if that is damaged.
    """
    if record.v >= CANONICAL_FORMAT:
        return None if record.gates is UNSET else record.gates
    return find_document(store, canonical_gates_key(target, day), GateReport)


def find_report_of_day(store: ObjectStore, target: Target, day: date) -> GateReport | None:
    """Return the gate report of a day's canonical events, or None if there are none or the gates did not run."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    return None if record is None else find_canonical_report(store, target, day, record)


class StagedLocation(msgspec.Struct, frozen=True):
    """A staged artifact with the key and etag of its document. `together` is the document of a run, if it is in one."""

    artifact: StagedArtifact
    key: str
    etag: str
    together: StagedDay | None = None


def find_staged_location(store: ObjectStore, target: Target, day: date, kind: str) -> StagedLocation | None:
    """Return the staged artifact of a kind and day, or None. The run's document takes precedence over its own.

    Raises `CorruptObjectError` if the document cannot be read.
    """
    stored = find_stored(store, staged_day_key(target, day))
    if stored is not None:
        together = decode(stored.data, StagedDay, name=staged_day_key(target, day))
        if kind in together.artifacts:
            return StagedLocation(together.artifacts[kind], staged_day_key(target, day), stored.etag, together)
    key = staged_key(target, day, kind)
    stored = find_stored(store, key)
    return None if stored is None else StagedLocation(decode(stored.data, StagedArtifact, name=key), key, stored.etag)


def find_staged_artifact(store: ObjectStore, target: Target, day: date, kind: str) -> StagedArtifact | None:
    """Return the staged artifact of a kind and day, or None. Raises `CorruptObjectError` if it cannot be read."""
    location = find_staged_location(store, target, day, kind)
    return None if location is None else location.artifact


def find_readable_artifact(store: ObjectStore, target: Target, day: date, kind: str) -> StagedArtifact | None:
    """Return the staged artifact of a kind and day, or None if it is missing or unreadable."""
    return if_readable(partial(find_staged_artifact, store, target, day, kind))


def read_staged_location(store: ObjectStore, target: Target, day: date, kind: str) -> StagedLocation:
    """Return the staged artifact of a kind and day with its location. Raises `NotFoundError` if there is none."""
    location = find_staged_location(store, target, day, kind)
    if location is None:
        raise NotFoundError(f"{staged_key(target, day, kind)} is not in the store")
    return location


def put_staged(store: ObjectStore, target: Target, day: date, staged: StagedArtifact) -> None:
    """Stage an artifact in its own document, replacing one in the document of a run."""
    store.put(staged_key(target, day, staged.kind), encode(staged))
    _remove_from_run(store, target, day, staged.kind)


def stage_in_run(reads: RunCache, target: Target, day: date, staged: StagedArtifact, *, is_first: bool) -> None:
    """Stage an artifact together with the others of a run. `reads.flush` writes their one document when all are built.

    `is_first`: no earlier run can have staged artifacts of the day.
    """
    key = staged_day_key(target, day)
    with reads.turn(key):  # kinds are built in parallel
        stored = None if is_first and not reads.is_held(key) else find_stored(reads, key)
        try:
            before = decode(stored.data, StagedDay, name=key) if stored is not None else StagedDay(artifacts={})
        except CorruptObjectError:
            before = StagedDay(artifacts={})  # overwritten
        artifacts = dict(sorted({**before.artifacts, staged.kind: staged}.items()))
        reads.hold(key, encode(msgspec.structs.replace(before, artifacts=artifacts)))


def remove_staged(store: ObjectStore, target: Target, day: date, kind: str) -> None:
    """Remove the staged artifact of a kind and day. No-op if there is none."""
    store.delete(staged_key(target, day, kind))
    _remove_from_run(store, target, day, kind)


def _remove_from_run(store: ObjectStore, target: Target, day: date, kind: str) -> None:
    """Remove a kind from the document of a run. Deletes an unreadable document, because nothing can ship from it."""
    key = staged_day_key(target, day)
    stored = find_stored(store, key)
    if stored is None:
        return
    try:
        before = decode(stored.data, StagedDay, name=key)
    except CorruptObjectError:
        store.delete(key)
        return
    if kind in before.artifacts:
        left = {name: artifact for name, artifact in before.artifacts.items() if name != kind}
        store.swap(key, encode(msgspec.structs.replace(before, artifacts=left)), expected=stored.etag)


def keep_report(store: ObjectStore, staged: StagedArtifact, report: GateReport, *, over: StagedLocation) -> None:
    """Write a gate report into the document of its staged artifact, which was read as `over`.

    Raises `ConflictError` if the artifact was rebuilt in the meantime, so that the report is outdated.
    """
    judged = msgspec.structs.replace(staged, gates=report, v=STAGED_FORMAT)
    document = judged
    if over.together is not None:
        artifacts = {**over.together.artifacts, staged.kind: judged}
        document = msgspec.structs.replace(over.together, artifacts=artifacts)
    store.swap(over.key, encode(document), expected=over.etag)


def find_report_together(store: ObjectStore, target: Target, day: date, subject: str) -> GateReport | None:
    """Return the gate report on a day's artifacts together, or None if the gates did not run."""
    stored = find_stored(store, staged_day_key(target, day))
    if stored is not None:
        report = decode(stored.data, StagedDay, name=staged_day_key(target, day)).gates.get(subject)
        if report is not None:
            return report
    return find_document(store, staged_gates_key(target, day, subject), GateReport)


def keep_report_together(store: ObjectStore, target: Target, day: date, report: GateReport) -> None:
    """Write the gate report on a day's artifacts together, into the document of a run if there is one."""
    key = staged_day_key(target, day)
    stored = find_stored(store, key)
    if stored is None:
        store.put(staged_gates_key(target, day, report.subject), encode(report))
        return
    before = decode(stored.data, StagedDay, name=key)
    gates = {**before.gates, report.subject: report}
    store.swap(key, encode(msgspec.structs.replace(before, gates=gates)), expected=stored.etag)


def find_report(store: ObjectStore, target: Target, day: date, staged: StagedArtifact) -> GateReport | None:
    """Return the gate report of a staged artifact, or None if the gates did not run.

    Format 1 stored it in a separate document. Raises `CorruptObjectError` if that is damaged.
    """
    if staged.v >= STAGED_FORMAT:
        return None if staged.gates is UNSET else staged.gates
    return find_document(store, staged_gates_key(target, day, staged.kind), GateReport)


def find_report_of_kind(store: ObjectStore, target: Target, day: date, kind: str) -> GateReport | None:
    """Return the gate report of a kind and day, or None if nothing is staged or the gates did not run."""
    staged = find_staged_artifact(store, target, day, kind)
    return None if staged is None else find_report(store, target, day, staged)


def is_left_out(store: ObjectStore, target: Target, day: date, staged: StagedArtifact) -> bool:
    """Return whether the gates excluded an artifact of a day from its release, False for a damaged report."""
    if staged.facts.get("rows") != 0:
        return False
    report = if_readable(lambda: find_report(store, target, day, staged))
    return report is not None and report.version == staged.ref.version and report.left_out_because is not None
