"""The index of an artifact in shards: how it is written and read back, and whether a record lists what it lists."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial

from recsys_assets.artifact_format import hashes_of, owner_head, parse, proven_version
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, Window, form_of, parse_rfc3339, rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.document_encoding import decode, encode
from recsys_assets.release.documents import FORMAT, Member, Record
from recsys_assets.release.layout import blob_key
from recsys_assets.sharding import MAX_SHARDS, RULE, SHARDS_FORM, index_kind, sharded_kind
from recsys_assets.storage.store import AT_ONCE, Listed, ObjectStore, fan_out, is_remote

_SMALL_BYTES = 4_000_000
_FEW = 20  # more objects than that has a release with shards


def read_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Read one blob and prove that it is exactly the one referred to, and this target's.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if size, digest, version or owner differ.
    """
    data = fetch_blob(store, target, ref)
    prove_blob(data, target, ref)
    return data


def fetch_blob(store: ObjectStore, target: Target, ref: ArtifactRef) -> bytes:
    """Return what stands in a blob's place, not proven to be anything; `NotFoundError` if nothing does."""
    return store.get(blob_key(target, ref.kind, ref.version), max_bytes=ref.size).data


def prove_blob(data: bytes, target: Target, ref: ArtifactRef) -> None:
    """Raise `CorruptObjectError` unless the bytes are exactly those referred to, and this target's.

    Bytes of another form than the kinds' JSON do not say whose they are: their place under the target does.
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
        raise CorruptObjectError(f"{key} is another version than its name says: build it again")
    if not data.startswith(owner_head(ref.kind, target)):
        raise CorruptObjectError(f"{key} says that it belongs to another target or kind: {data[:120]!r}; remove it")


def check_digits(version: str, digest: str, *, name: str) -> None:
    """Raise `CorruptObjectError` unless a version that is not of the kinds' JSON is the SHA-256 of its bytes."""
    if version.partition(".")[0] != digest:
        raise CorruptObjectError(f"{name} is version {digest[:12]}, not {version[:12]}: restore it or import it again")


def blob_faults(store: ObjectStore, target: Target, windows: Mapping[ArtifactRef, Window]) -> tuple[str, ...]:
    """Return what is wrong with each blob that cannot be served, or whose own window is not the one recorded of it.

    Nothing for those that can; two are read at a time, and more of small ones where the store is remote.
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
    """Raise `CorruptObjectError` if a record gives an artifact another window, in days, than its own bytes say."""
    try:
        first, last = parse_rfc3339(start).date(), (parse_rfc3339(end) - timedelta(microseconds=1)).date()
    except (ConfigurationError, OverflowError) as error:
        raise CorruptObjectError(f"version {ref.version[:12]} has a window that is none: {error}") from error
    if (first, last) != (recorded.first, recorded.last):
        raise CorruptObjectError(
            f"version {ref.version[:12]} is of {first} to {last} by its own bytes, its record says {recorded.first} to "
            f"{recorded.last}: the record is damaged, restore it from a backup"
        )


def missing_blobs(store: ObjectStore, target: Target, refs: Iterable[ArtifactRef]) -> tuple[ArtifactRef, ...]:
    """Return the references whose blob is not there in its size: one look each, several at once if there are many."""
    asked = tuple(dict.fromkeys(refs))

    def look(ref: ArtifactRef) -> Listed | None:
        return store.stat(blob_key(target, ref.kind, ref.version))

    found = fan_out(look, asked) if len(asked) > _FEW else map(look, asked)
    pairs = zip(asked, found, strict=True)
    return tuple(ref for ref, there in pairs if there is None or there.size != ref.size)


class Shard(Record, frozen=True):
    """One object of an index: its version, the size and SHA-256 of its stored bytes, and how many rows it holds."""

    version: str
    size: int
    digest: str
    rows: int

    @classmethod
    def of(cls, ref: ArtifactRef, *, rows: int) -> "Shard":
        """Return what an index says of an artifact."""
        return cls(version=ref.version, size=ref.size, digest=ref.digest, rows=rows)


class IndexWindow(Record, frozen=True):
    """Which events went in, half-open, as artifacts say it."""

    start: str
    end: str


class ShardIndex(Record, frozen=True):
    """Which shards a kind has, by number, how a row's key finds its own, and the single object with the same rows."""

    v: int
    artifact_type: str
    tenant: str
    surface: str
    window: IndexWindow
    key: str  # the field that names a row
    rule: str
    rows: int
    whole: Shard | None
    shards: tuple[Shard, ...]

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """The shards, by number."""
        return tuple(self.ref_of(shard) for shard in self.shards)

    def ref_of(self, shard: Shard) -> ArtifactRef:
        """Return the reference of one object of the index."""
        return ArtifactRef(self.artifact_type, shard.version, shard.size, shard.digest)


def make_index(
    target: Target, kind: str, window: Window, *, key: str, shards: Sequence[Shard], whole: Shard | None
) -> tuple[ArtifactRef, bytes]:
    """Return the index over a kind's shards, given by number, and its reference: a pure function of what it says."""
    index = ShardIndex(
        v=FORMAT,
        artifact_type=kind,
        tenant=target.tenant,
        surface=target.surface,
        window=IndexWindow(start=rfc3339(window.start), end=rfc3339(window.end)),
        key=key,
        rule=RULE,
        rows=sum(shard.rows for shard in shards),
        whole=whole,
        shards=tuple(shards),
    )
    data = encode(index)
    digest = hashlib.sha256(data).hexdigest()
    return ArtifactRef(index_kind(kind), f"{digest}.{SHARDS_FORM}", len(data), digest), data


def parse_index(data: bytes, target: Target, kind: str, *, name: str) -> ShardIndex:
    """Return what the proven bytes of an index say, if they are one of this target and of the index kind `kind`.

    Raises `CorruptObjectError`: build the artifact again, or, where the rule is not known, upgrade the package.
    """
    index = decode(data, ShardIndex, name=name)
    if (index.artifact_type, index.tenant, index.surface) != (sharded_kind(kind), target.tenant, target.surface):
        raise CorruptObjectError(
            f"{name} says that it is {index.artifact_type} of {index.tenant}/{index.surface}, not {kind} of {target}: "
            "remove it, it is not ours"
        )
    if index.rule != RULE:
        raise CorruptObjectError(f"{name} parts keys by {index.rule!r}, this version knows {RULE!r}: upgrade it")
    if not 0 < len(index.shards) <= MAX_SHARDS or index.rows != sum(shard.rows for shard in index.shards):
        raise CorruptObjectError(f"{name} lists {len(index.shards)} shards of {index.rows} rows: build it again")
    try:
        _ = index.refs
    except ConfigurationError as error:
        raise CorruptObjectError(f"{name} lists what is no artifact: {error}; build it again") from error
    return index


def read_index(store: ObjectStore, target: Target, ref: ArtifactRef) -> ShardIndex:
    """Return the index that a reference names, its bytes proven; raises as `read_blob` and `parse_index` do."""
    return parse_index(read_blob(store, target, ref), target, ref.kind, name=f"{ref.kind} {ref.version[:12]}")


def prove_members(store: ObjectStore, target: Target, members: Iterable[Member]) -> None:
    """Raise `RefusedError` naming every object of these artifacts that is missing or not what it should be."""
    faults = member_faults(store, target, members)
    if faults:
        raise RefusedError(f"{target}: {plural(len(faults), 'artifact')} cannot be served: " + "; ".join(faults))


def member_faults(store: ObjectStore, target: Target, members: Iterable[Member]) -> tuple[str, ...]:
    """Return what is wrong with each object of these artifacts, and where a record says other than the objects.

    A record must give each artifact the window that its bytes name, and list the shards that its index does:
    collection keeps what records list, and readers load what indexes list.
    """
    known = list(members)
    try:
        windows = {ref: _window_of(member) for member in known for ref in member.refs}  # empty shards are one object
    except (ConfigurationError, ValueError) as error:
        return (f"its record has a window that is none: {error}",)
    faults = blob_faults(store, target, windows)
    listed = (_listing_fault(store, target, member) for member in known)
    return (*faults, *(fault for fault in listed if fault is not None))


def _window_of(member: Member) -> Window:
    return Window(date.fromisoformat(member.window_first), date.fromisoformat(member.window_last))


def _listing_fault(store: ObjectStore, target: Target, member: Member) -> str | None:
    recorded = member.shard_refs
    if not member.ref.version.endswith(f".{SHARDS_FORM}"):
        return f"{member.ref.kind}: its record lists shards, and it is no index: build it again" if recorded else None
    try:
        index = read_index(store, target, member.ref)
        check_window(member.ref, _window_of(member), start=index.window.start, end=index.window.end)
    except (NotFoundError, CorruptObjectError) as error:
        return f"{member.ref.kind}: {error}"
    if index.refs == recorded:
        return None
    return f"{member.ref.kind}: its index lists {len(index.refs)} shards, other than the {len(recorded)} of its record"
