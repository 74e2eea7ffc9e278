"""Loading of the release of a pointer into memory: every byte is read within limits and verified before use."""

import hashlib
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from itertools import islice

import msgspec

from recsys_assets.artifact_format import index_kind, is_index_kind, sharded_kind
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError, RecsysAssetsError, RefusedError
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.documents import Release
from recsys_assets.release.journal import changes
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import blob_key, pointer_key
from recsys_assets.release.pointer import LivePointer, make_pointer, parse_stored_pointer
from recsys_assets.release.releases import effective, live_at, read_release
from recsys_assets.release.shards import read_blob
from recsys_assets.serving.mapped_copy import MappedCopy
from recsys_assets.serving.row_index import MAX_INDEXED_BYTES
from recsys_assets.serving.served import ServedArtifact, prove
from recsys_assets.serving.sharded_rows import ShardCache, with_shards
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.state import Problem, problem_of_blobs
from recsys_assets.storage.store import ObjectStore, StoredObject

_UNWRITTEN = ""  # the etag of a pointer that no store holds

Proven = MutableMapping[tuple[str, str], ServedArtifact]  # artifacts by kind and version

_LOOKED_AT = 20  # changes of the pointer searched for a release that can be served


class Limits(msgspec.Struct, frozen=True):
    """Limits of reads, whatever a store contains: bytes of a pointer, of one blob, of a release, and seconds of a call.

    The number of kinds in a pointer and the depth of any document are bounded by their formats.
    """

    pointer_bytes: int = 1_000_000
    blob_bytes: int = 256_000_000
    release_bytes: int = 1_000_000_000
    shard_bytes: int = 256_000_000  # bytes of shards that are cached in memory
    call_seconds: float = 300.0  # a call that takes longer fails, even if bytes still arrive

    def __post_init__(self) -> None:
        numbers = (self.pointer_bytes, self.blob_bytes, self.release_bytes, self.shard_bytes, self.call_seconds)
        if min(numbers) <= 0 or self.blob_bytes > MAX_INDEXED_BYTES:
            raise ConfigurationError(f"{self}: expected positive numbers, blob_bytes at most {MAX_INDEXED_BYTES}")


class PointerRead(msgspec.Struct, frozen=True):
    """A checked pointer with its stored bytes."""

    current: LivePointer
    data: bytes


def read_pointer(store: ObjectStore, target: Target, *, limits: Limits) -> PointerRead:
    """Return the pointer.

    Raises `NotFoundError` if there is none, `CorruptObjectError` if it is not a pointer to this target's blobs.
    """
    return _parsed(store, target, store.get(pointer_key(target), max_bytes=limits.pointer_bytes))


def read_pointer_unless(store: ObjectStore, target: Target, *, etag: str, limits: Limits) -> PointerRead | None:
    """Return the pointer, or None if its etag still is `etag`, at the cost of one 304 or one stat."""
    stored = store.get_if_changed(pointer_key(target), etag=etag, max_bytes=limits.pointer_bytes)
    return None if stored is None else _parsed(store, target, stored)


def load_release(
    store: ObjectStore,
    target: Target,
    pointer: PointerRead,
    *,
    limits: Limits,
    proven: Proven,
    shards: ShardCache | None = None,
    mapped: MappedCopy | None = None,
) -> Snapshot:
    """Return the release of a pointer. Artifacts in `proven` are not read again, and newly verified ones are added.

    For a kind in shards only the index is read, and each shard through `shards` when it is needed. A single object of
    the same kind is not read. With `mapped`, blobs are stored in its folder and mapped from there.

    Raises `NotFoundError` if a blob is missing, `CorruptObjectError` if one is too large or not the version in its
    name.
    """
    current = pointer.current
    shards = shards or ShardCache(store, target, max_bytes=limits.shard_bytes)
    artifacts: dict[str, ServedArtifact] = {}
    left = limits.release_bytes
    for kind, version in current.versions.items():
        if index_kind(kind) in current.versions:
            continue
        artifact = proven.get((kind, version))
        if artifact is None:
            most = min(left, limits.blob_bytes)
            if mapped is None or is_index_kind(kind):
                artifact = _read(store, target, kind, version, max_bytes=most)
            else:
                artifact = mapped.load(store, kind, version, max_bytes=most)
            artifact = proven[kind, version] = with_shards(artifact, target, shards)
        artifacts[sharded_kind(kind)] = artifact
        left -= len(artifact.data)
        if left < 0:
            raise CorruptObjectError(
                f"release {current.release_id[:12]} of {target} has more than {limits.release_bytes} bytes: raise "
                "Limits.release_bytes if memory allows"
            )
    digest = hashlib.sha256(pointer.data).hexdigest()
    return Snapshot(target, current.release_id, current.updated_at, artifacts, digest)


class RecordCheck(msgspec.Struct, frozen=True):
    """Outcome of checking the record of a pointer's release: whether it is final, and the problem found."""

    is_final: bool  # False: the record is checked again.
    problem: Problem | None = None
    why: str = ""


def check_record(store: ObjectStore, target: Target, pointer: PointerRead, *, strict: bool) -> RecordCheck:
    """Check that a record proves that the artifacts of a pointer were released together.

    The record is named by the hash of all versions: a pointer that was assembled by hand, or from several releases,
    has none. A record that cannot be read is a problem only with `strict`: some services lack permission to read it.
    """
    release_id = pointer.current.release_id
    try:
        read_release(store, target, release_id)
    except NotFoundError:
        fault = (
            f"no record says that the artifacts of {pointer_key(target)} were released together, as {release_id[:12]}: "
            "was the pointer written by hand? Roll back, or ship a day with --allow-older"
        )
        return RecordCheck(is_final=False, problem=Problem.UNRECORDED_RELEASE, why=fault)
    except CorruptObjectError as error:
        return RecordCheck(is_final=False, problem=Problem.UNRECORDED_RELEASE, why=str(error))
    except RecsysAssetsError as error:
        is_denied = isinstance(error, ConfigurationError)
        problem = problem_of_blobs(error) if strict else None
        return RecordCheck(is_final=is_denied, problem=problem, why=str(error))
    return RecordCheck(is_final=True)


def load_trial(
    store: ObjectStore, target: Target, versions: Mapping[str, str], *, at: datetime, limits: Limits | None = None
) -> Snapshot:
    """Return the release of `versions` (by kind) as a reader would load it if the pointer were moved to it at `at`.

    Nothing is written. Raises the errors of a reader: `NotFoundError` for a missing blob, `CorruptObjectError` for one
    that is not the version in its name or too large.
    """
    data = encode(make_pointer(store.uri_roots[0], target, versions, now=at, after=None))
    pointer = PointerRead(parse_stored_pointer(store, target, data, etag=_UNWRITTEN), data)
    return load_release(store, target, pointer, limits=limits or Limits(), proven={})


def _read(store: ObjectStore, target: Target, kind: str, version: str, *, max_bytes: int) -> ServedArtifact:
    key = blob_key(target, kind, version)
    return prove(target, kind, version, store.get(key, max_bytes=max_bytes).data, name=key)


def _parsed(store: ObjectStore, target: Target, stored: StoredObject) -> PointerRead:
    return PointerRead(parse_stored_pointer(store, target, stored.data, etag=stored.etag), stored.data)


def load_at(store: ObjectStore, target: Target, instant: datetime, *, limits: Limits) -> Snapshot:
    """Return the release that was live at a given time. Nothing is changed.

    Raises `RefusedError` if nothing was live then or its artifacts have been collected since, `CorruptObjectError` if
    they are not what the record says.
    """
    then = live_at(store, target, instant)
    if then is None:
        raise RefusedError(f"{target}: nothing was live at {instant.isoformat()}: choose a later time")
    if then.record is None or then.collected:
        missing = ", ".join(then.collected) or "its record"
        raise RefusedError(
            f"{target}: release {then.release_id[:12]} was live at {instant.isoformat()}, but {missing} is no longer "
            "in the store: restore it from a backup, or build its day again"
        )
    return _load(store, target, then.record, since=effective(then.entry) or instant, limits=limits)


def load_previous(store: ObjectStore, target: Target, *, exclude: str, limits: Limits) -> Snapshot | None:
    """Return the latest release, except `exclude`, that was live, can be verified and is not marked bad, or None."""
    for entry in islice(changes(store, target), _LOOKED_AT):
        since = effective(entry)
        if entry.after is None or entry.after == exclude or since is None:
            continue
        if find_label(store, target, Labelled.BAD, entry.after) is not None:
            continue
        try:
            record = read_release(store, target, entry.after)
            return _load(store, target, record, since=since, limits=limits)
        except (NotFoundError, CorruptObjectError):
            continue  # Try the previous one. `recsys-assets verify` reports what is wrong with each.
    return None


def _load(store: ObjectStore, target: Target, record: Release, *, since: datetime, limits: Limits) -> Snapshot:
    """Load the artifacts of a record. Their sizes are in the record, so that limits are checked before any read."""
    shards = ShardCache(store, target, max_bytes=limits.shard_bytes)
    refs = record.artifacts
    size = sum(ref.size for ref in refs.values())
    if size > limits.release_bytes:
        raise CorruptObjectError(
            f"release {record.id[:12]} of {target} has {size} bytes: more than Limits.release_bytes allows"
        )
    artifacts: dict[str, ServedArtifact] = {}
    for kind, ref in refs.items():
        data = read_blob(store, target, ref)
        proven = prove(target, ref.kind, ref.version, data, name=f"{ref.kind} {ref.version}")
        artifacts[kind] = with_shards(proven, target, shards)
    return Snapshot(target, record.id, since, artifacts)
