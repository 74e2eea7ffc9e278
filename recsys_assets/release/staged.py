"""Reports of gates in the store: each in one document with what it judged, a canonical day or a staged artifact."""

from datetime import date

import msgspec
from msgspec import UNSET

from recsys_assets.evidence import GateReport
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode, find_document, if_readable
from recsys_assets.release.documents import CANONICAL_FORMAT, STAGED_FORMAT, CanonicalRecord, StagedArtifact
from recsys_assets.release.layout import canonical_gates_key, canonical_record_key, staged_gates_key, staged_key
from recsys_assets.storage.store import ObjectStore


def find_canonical_report(store: ObjectStore, target: Target, day: date, record: CanonicalRecord) -> GateReport | None:
    """Return the report of a canonical day's gates, or None if they never ran; its `version` says on which bytes.

    Format 1 kept it in a document beside. Raises `CorruptObjectError` if that is damaged.
    """
    if record.v >= CANONICAL_FORMAT:
        return None if record.gates is UNSET else record.gates
    return find_document(store, canonical_gates_key(target, day), GateReport)


def find_report_of_day(store: ObjectStore, target: Target, day: date) -> GateReport | None:
    """Return the report of a day's canonical events, None where there are none or their gates did not run."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    return None if record is None else find_canonical_report(store, target, day, record)


def read_with_etag(store: ObjectStore, target: Target, day: date, kind: str) -> tuple[StagedArtifact, str]:
    """Return what a day staged of a kind, and the etag that `keep_report` replaces; `NotFoundError` if nothing."""
    key = staged_key(target, day, kind)
    stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
    return decode(stored.data, StagedArtifact, name=key), stored.etag


def keep_report(
    store: ObjectStore, target: Target, day: date, staged: StagedArtifact, report: GateReport, *, over: str
) -> None:
    """Write the report of its gates into a staged artifact's document, which was read with the etag `over`.

    Raises `ConflictError` if the artifact was built again meanwhile: the report is not of what is stored now.
    """
    judged = msgspec.structs.replace(staged, gates=report, v=STAGED_FORMAT)
    store.swap(staged_key(target, day, staged.kind), encode(judged), expected=over)


def find_report(store: ObjectStore, target: Target, day: date, staged: StagedArtifact) -> GateReport | None:
    """Return the report of a staged artifact's gates, or None if they did not run.

    Format 1 kept it in a document beside. Raises `CorruptObjectError` if that is damaged.
    """
    if staged.v >= STAGED_FORMAT:
        return None if staged.gates is UNSET else staged.gates
    return find_document(store, staged_gates_key(target, day, staged.kind), GateReport)


def find_report_of_kind(store: ObjectStore, target: Target, day: date, kind: str) -> GateReport | None:
    """Return the report of what a day staged of a kind, or None where nothing is staged or its gates did not run."""
    staged = find_document(store, staged_key(target, day, kind), StagedArtifact)
    return None if staged is None else find_report(store, target, day, staged)


def is_left_out(store: ObjectStore, target: Target, day: date, staged: StagedArtifact) -> bool:
    """Return whether the gates left an artifact of a day out of its release; a damaged report says nothing."""
    if staged.facts.get("rows") != 0:
        return False
    report = if_readable(lambda: find_report(store, target, day, staged))
    return report is not None and report.version == staged.ref.version and report.left_out_because is not None
