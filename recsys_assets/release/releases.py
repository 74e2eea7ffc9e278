"""Release records: made from a proven candidate, written once, and read back only if they are what their name says."""

import hashlib
from datetime import datetime

import msgspec

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import ArtifactRef, Target, rfc3339
from recsys_assets.release.candidate import Candidate
from recsys_assets.release.document_encoding import create_document, encode, read_document
from recsys_assets.release.documents import RELEASE_FORMAT, Build, Release
from recsys_assets.release.layout import release_key
from recsys_assets.release.pointer import release_id_of
from recsys_assets.sharding import sharded_kind
from recsys_assets.storage.store import ObjectStore


def release_of(target: Target, candidate: Candidate, *, build: Build, now: datetime, parent: str | None) -> Release:
    """Return the record of a candidate; its id depends on nothing but target, kinds and versions."""
    release = Release(
        id=release_id_of(target, candidate.versions),
        tenant=target.tenant,
        surface=target.surface,
        segment=target.segment,
        data_through=candidate.day.isoformat(),
        members=candidate.members,
        canonical=candidate.canonical,
        gates=candidate.gates,
        build=build,
        recorded_at=rfc3339(now),
        parent=parent,
    )
    return msgspec.structs.replace(release, digest=digest_of(release))


def digest_of(release: Release) -> str:
    """Return the SHA-256 of a record's bytes, as they are without the digest that it carries."""
    return hashlib.sha256(encode(msgspec.structs.replace(release, digest=msgspec.UNSET))).hexdigest()


def record(store: ObjectStore, target: Target, release: Release) -> Release:
    """Write the record, or keep the one that stands: the same refs are the same release, and its first evidence counts.

    Raises `CorruptObjectError` if the record that is there cannot be trusted.
    """
    try:
        create_document(store, release_key(target, release.id), release)
    except ConflictError:
        return read_release(store, target, release.id)
    return release


def read_release(store: ObjectStore, target: Target, release_id: str) -> Release:
    """Return one release record, checked against its own name; `NotFoundError` if there is none."""
    key = release_key(target, release_id)
    release = read_document(store, key, Release)
    computed = release_id_of(target, versions_of(release))
    if (release.id, computed) != (release_id, release_id):
        raise CorruptObjectError(
            f"{key} is the record of {release.id[:12]}, its refs make {computed[:12]}: restore it from a backup, "
            "or remove it and publish its day again"
        )
    fault = _record_fault(release)
    if fault is not None:
        raise CorruptObjectError(f"{key} {fault}: restore it from a backup, or remove it and publish its day again")
    return release


def _record_fault(release: Release) -> str | None:
    """Return what a record says that it cannot have been written with, or None."""
    if not is_former(release) and release.digest != digest_of(release):
        return "is not the record that was written: its digest is of other bytes"
    ends = sorted({member.window_last for member in release.members})
    if ends != [release.data_through]:
        return f"says that its data ends {release.data_through}, its artifacts' windows end {', '.join(ends)}"
    return None


def is_former(release: Release) -> bool:
    """Return whether a record is of a format without a digest: nothing but its artifacts proves what it says."""
    return release.v < RELEASE_FORMAT and release.digest is msgspec.UNSET


def find_release(store: ObjectStore, target: Target, release_id: str) -> Release | None:
    """Return one release record, or None if there is none."""
    try:
        return read_release(store, target, release_id)
    except NotFoundError:
        return None


def find_readable_release(store: ObjectStore, target: Target, release_id: str | None) -> Release | None:
    """Return one release record, or None if there is none, or none that can be trusted: `verify` names those."""
    try:
        return find_release(store, target, release_id) if release_id else None
    except CorruptObjectError:
        return None


def refs_of(release: Release) -> tuple[ArtifactRef, ...]:
    """Return every object of a release: its blobs, its indexes, and their shards."""
    return tuple(ref for member in release.members for ref in member.refs)


def release_numbers(release: Release) -> dict[str, Scalar]:
    """Return what people watch of releases over days: bytes together, and rows by kind."""
    return {
        "bytes": sum(member.size for member in release.members),
        **{f"rows/{sharded_kind(member.ref.kind)}": member.facts.get("rows") for member in release.members},
    }


def versions_of(release: Release) -> dict[str, str]:
    """Return version by kind: what names a release."""
    return {member.ref.kind: member.ref.version for member in release.members}
