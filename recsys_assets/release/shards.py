"""Index of an artifact in shards: writing, reading, and comparison with the record. Also verification of blobs."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial

from recsys_assets.artifact_format import (
    MAX_SHARDS,
    SHARD_RULE,
    SHARDS_FORM,
    hashes_of,
    index_kind,
    owner_head,
    parse,
    proven_version,
    sharded_kind,
)
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, Window, form_of, parse_rfc3339, rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.document_encoding import decode, encode
from recsys_assets.release.documents import FORMAT, Member, Record
from recsys_assets.release.layout import blob_key
from recsys_assets.storage.store import AT_ONCE, Listed, ObjectStore, fan_out, is_remote

_SMALL_BYTES = 4_000_000
_FEW = 20  # only releases with shards have more objects


def read_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Return the bytes of one blob, verified against its reference and target.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if size, digest, version or owner differ.
    """
    data = fetch_blob(store, target, ref)
    prove_blob(data, target, ref)
    return data


def fetch_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Return the bytes at a blob's key, unverified. Raises `NotFoundError` if there are none."""
    return store.get(blob_key(target, ref.kind, ref.version), max_bytes=ref.size).data


def prove_blob(data: bytes, target: Target, ref: ArtifactRef) -> None:
    """Raise `CorruptObjectError` unless the bytes match the reference and the target.

    Formats other than JSON do not contain their owner. For them, only the key shows the target.
    """
    key, hashes = blob_key(target, ref.kind, ref.version), hashes_of(data)
    digest = hashes.digest
    if (len(data), digest) != (ref.size, ref.digest):
        raise CorruptObjectError(
            f"{key} has {len(data)} bytes with digest {digest[:12]}, expected {ref.size} with {ref.digest[:12]}: "
            "build it again, or restore it from a backup"
        )
    if form_of(ref.version) != JSON_FORM:
        check_digits(ref.version, digest, name=key)
        return
    if proven_version(data, hashes, name=key) != ref.version:
        raise CorruptObjectError(f"{key} does not have the version in its name: build it again")
    if not data.startswith(owner_head(ref.kind, target)):
        raise CorruptObjectError(f"{key} belongs to another target or kind: {data[:120]!r}; remove it")


def check_digits(version: str, digest: str, *, name: str) -> None:
    """Raise `CorruptObjectError` unless a version in a format other than JSON is the SHA-256 of its bytes."""
    if version.partition(".")[0] != digest:
        raise CorruptObjectError(f"{name} is version {digest[:12]}, not {version[:12]}: restore it or import it again")


def blob_faults(store: ObjectStore, target: Target, windows: Mapping[ArtifactRef, Window]) -> tuple[str, ...]:
    """Return the fault of each blob that cannot be served or whose window differs from the recorded one.

    Two blobs are read at a time, and more if they are small and the store is remote.
    """
    small = is_remote(store) and all(ref.size <= _SMALL_BYTES for ref in windows)
    with ThreadPoolExecutor(AT_ONCE if small else 2) as pool:
        return tuple(fault for fault in pool.map(partial(_fault, store, target), windows.items()) if fault)


def _fault(store: ObjectStore, target: Target, recorded: tuple[ArtifactRef, Window]) -> str | None:
    ref, window = recorded
    try:
        data = read_blob(store, target, ref)
        if form_of(ref.version) == JSON_FORM:
            envelope = parse(data, name=blob_key(target, ref.kind, ref.version)).envelope
            check_window(ref, window, start=envelope.window_start, end=envelope.window_end)
    except (NotFoundError, CorruptObjectError) as error:
        return f"{ref.kind}: {error}"
    return None


def check_window(ref: ArtifactRef, recorded: Window, *, start: str, end: str) -> None:
    """Raise `CorruptObjectError` if the window in a record, in days, differs from the one in the artifact's bytes."""
    try:
        first, last = parse_rfc3339(start).date(), (parse_rfc3339(end) - timedelta(microseconds=1)).date()
    except (ConfigurationError, OverflowError) as error:
        raise CorruptObjectError(f"version {ref.version[:12]} has an invalid window: {error}") from error
    if (first, last) != (recorded.first, recorded.last):
        raise CorruptObjectError(
            f"version {ref.version[:12]} covers {first} to {last}, but its record says {recorded.first} to "
            f"{recorded.last}: the record is damaged, restore it from a backup"
        )


def missing_blobs(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> tuple[ArtifactRef, ...]:
    """Return the references whose blob is missing or has another size. Many are checked in parallel."""
    unique = tuple(dict.fromkeys(refs))

    def stat(ref: ArtifactRef) -> Listed | None:
        return store.stat(blob_key(target, ref.kind, ref.version))

    stats = fan_out(stat, unique) if len(unique) > _FEW else map(stat, unique)
    pairs = zip(unique, stats, strict=True)
    return tuple(ref for ref, listed in pairs if listed is None or listed.size != ref.size)


class Shard(Record, frozen=True):
    """One object of an index: version, size and SHA-256 of the stored bytes, and number of rows."""

    version: str
    size: int
    digest: str
    rows: int

    @classmethod
    def of(cls, ref: ArtifactRef, *, rows: int) -> "Shard":
        """Return the shard entry of an artifact."""
        return cls(version=ref.version, size=ref.size, digest=ref.digest, rows=rows)


class IndexWindow(Record, frozen=True):
    """Half-open window of the events, in the notation of the artifacts."""

    start: str
    end: str


class ShardIndex(Record, frozen=True):
    """Index of a sharded artifact: its shards by number, the rule from key to shard, and an optional single object."""

    v: int
    artifact_type: str
    tenant: str
    surface: str
    window: IndexWindow
    key: str  # field that identifies a row
    rule: str
    rows: int
    whole: Shard | None
    shards: tuple[Shard, ...]

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """References of the shards, by number."""
        return tuple(self.ref_of(shard) for shard in self.shards)

    def ref_of(self, shard: Shard) -> ArtifactRef:
        """Return the reference of one object of the index."""
        return ArtifactRef(self.artifact_type, shard.version, shard.size, shard.digest)


def make_index(
    target: Target, kind: str, window: Window, *, key: str, shards: Sequence[Shard], whole: Shard | None
) -> tuple[ArtifactRef, bytes]:
    """Return the reference and the bytes of the index over `shards` (by number). Equal shards give equal bytes."""
    index = ShardIndex(
        v=FORMAT,
        artifact_type=kind,
        tenant=target.tenant,
        surface=target.surface,
        window=IndexWindow(start=rfc3339(window.start), end=rfc3339(window.end)),
        key=key,
        rule=SHARD_RULE,
        rows=sum(shard.rows for shard in shards),
        whole=whole,
        shards=tuple(shards),
    )
    data = encode(index)
    digest = hashlib.sha256(data).hexdigest()
    return ArtifactRef(index_kind(kind), f"{digest}.{SHARDS_FORM}", len(data), digest), data


def parse_index(data: bytes, target: Target, kind: str, *, name: str) -> ShardIndex:
    """Decode verified bytes of an index, and check that it belongs to this target and the index kind `kind`.

    Raises `CorruptObjectError` otherwise. The remedy is to build the artifact again or, for an unknown rule, to upgrade
    the package.
    """
    index = decode(data, ShardIndex, name=name)
    if (index.artifact_type, index.tenant, index.surface) != (sharded_kind(kind), target.tenant, target.surface):
        raise CorruptObjectError(
            f"{name} is {index.artifact_type} of {index.tenant}/{index.surface}, not {kind} of {target}: remove it"
        )
    if index.rule != SHARD_RULE:
        raise CorruptObjectError(
            f"{name} assigns keys to shards by {index.rule!r}, this version supports {SHARD_RULE!r}: "
            "upgrade the package"
        )
    if not 0 < len(index.shards) <= MAX_SHARDS or index.rows != sum(shard.rows for shard in index.shards):
        raise CorruptObjectError(f"{name} lists {len(index.shards)} shards of {index.rows} rows: build it again")
    try:
        _ = index.refs
    except ConfigurationError as error:
        raise CorruptObjectError(f"{name} contains an invalid reference: {error}; build it again") from error
    return index


def read_index(store: ObjectStore, target: Target, ref: ArtifactRef) -> ShardIndex:
    """Return the index of a reference, its bytes verified. Raises as `read_blob` and `parse_index` do."""
    return parse_index(read_blob(store, target, ref), target, ref.kind, name=f"{ref.kind} {ref.version[:12]}")


def prove_members(store: ObjectStore, target: Target, members: Iterable[Member]) -> None:
    """Raise `RefusedError` that lists every missing or invalid object of these artifacts."""
    faults = member_faults(store, target, members)
    if faults:
        raise RefusedError(f"{target}: {plural(len(faults), 'artifact')} cannot be served: " + "; ".join(faults))


def member_faults(store: ObjectStore, target: Target, members: Iterable[Member]) -> tuple[str, ...]:
    """Return the faults of the objects of these artifacts, and differences between records and objects.

    A record must contain the window in each artifact's bytes and the shards in its index, because collection keeps the
    objects in records, while readers load those in indexes.
    """
    artifacts = list(members)
    try:
        windows = {
            ref: _window_of(member) for member in artifacts for ref in member.refs
        }  # empty shards are one object
    except (ConfigurationError, ValueError) as error:
        return (f"its record has an invalid window: {error}",)
    faults = blob_faults(store, target, windows)
    listed = (_listing_fault(store, target, member) for member in artifacts)
    return (*faults, *(fault for fault in listed if fault is not None))


def _window_of(member: Member) -> Window:
    return Window(date.fromisoformat(member.window_first), date.fromisoformat(member.window_last))


def _listing_fault(store: ObjectStore, target: Target, member: Member) -> str | None:
    recorded = member.shard_refs
    if not member.ref.version.endswith(f".{SHARDS_FORM}"):
        return (
            f"{member.ref.kind}: its record lists shards, but it is not an index: build it again" if recorded else None
        )
    try:
        index = read_index(store, target, member.ref)
        check_window(member.ref, _window_of(member), start=index.window.start, end=index.window.end)
    except (NotFoundError, CorruptObjectError) as error:
        return f"{member.ref.kind}: {error}"
    if index.refs == recorded:
        return None
    return f"{member.ref.kind}: the {len(index.refs)} shards in its index are not the {len(recorded)} in its record"
