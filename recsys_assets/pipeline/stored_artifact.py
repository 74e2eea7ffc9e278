"""Artifacts in the store: written whole or in shards while they are encoded, and decoded after verification."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from operator import itemgetter
from threading import Lock
from typing import Final, NamedTuple, TypedDict

import msgspec
from cachetools import LRUCache
from msgspec import UNSET, UnsetType

from recsys_assets.artifact_format import NEVER, OVER_MAX_BYTES, SHARDS_FORM, Blob, Envelope
from recsys_assets.encoding.codec import check_shard_of_rows, count_for, encode_shards, join_shards, whole_size
from recsys_assets.encoding.decoder import decode
from recsys_assets.encoding.rows import Excluded, Rows
from recsys_assets.encoding.safetensors_codec import FORM, Vectors, decode_vectors
from recsys_assets.errors import ConflictError, CorruptObjectError, InputError, LimitExceededError, NotFoundError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import ArtifactRef, Target, Window, form_of
from recsys_assets.imports.safetensors import read_metadata, read_safetensors
from recsys_assets.kind_descriptions import Shape, VectorShape
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import Kind
from recsys_assets.release.documents import Input, Shards, StagedArtifact
from recsys_assets.release.fault_points import reach
from recsys_assets.release.layout import blob_key
from recsys_assets.release.shards import Shard, fetch_blob, make_index, prove_blob, read_blob, read_index
from recsys_assets.settings.settings import TargetSettings
from recsys_assets.storage.store import ObjectStore

MAX_RECENT_BYTES: Final = 8_000_000


class BuildSpec(NamedTuple):
    """Specification of one build: target row, kind, parameters, window and blocked items."""

    row: TargetSettings
    kind: Kind
    params: KindParams
    window: Window
    blocked: frozenset[str] = frozenset()  # items that the artifact omits


class EncodingArgs(TypedDict):
    """Arguments with which every object of an artifact is encoded."""

    kind: str
    target: Target
    window: Window
    max_bytes: int


def encoding_args(spec: BuildSpec) -> EncodingArgs:
    """Return the arguments with which every object of an artifact is encoded."""
    row, kind, params, window, _ = spec
    return {"kind": kind.name, "target": row.target, "window": window, "max_bytes": params.max_bytes}


class StoredArtifact(msgspec.Struct, frozen=True):
    """Reference of a stored artifact: a blob, or an index with its shards. `reused`: every object existed already."""

    ref: ArtifactRef
    reused: bool
    shards: Shards | UnsetType = UNSET

    @property
    def size(self) -> int:
        """Size of all rows in bytes: of the blob, or of all shards."""
        return self.ref.size if isinstance(self.shards, UnsetType) else sum(ref.size for ref in self.shards.refs)


class BuildResult(msgspec.Struct, frozen=True):
    """One artifact as it was built and stored: its first rows, its facts and its inputs."""

    stored: StoredArtifact
    first: Rows | Vectors | None  # The first piece of its rows. A native build has only one.
    lists: int  # number of objects in the body's array
    left_out: Excluded
    numbers: Mapping[str, Scalar]
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...]
    refused: tuple[date, ...] = ()


def keep_artifact(
    store: ObjectStore, spec: BuildSpec, encode_whole: Callable[[], Blob], pieces: Iterable[Rows] | None
) -> StoredArtifact:
    """Write an artifact's objects in the layout that its parameters require, and return the reference to them.

    `pieces` are its rows, which may be iterated more than once, or None for a kind without rows, which is one object.
    Shards are written one by one, the index last. Raises `LimitExceededError` for an object over `max_bytes`.
    """
    params, target = spec.params, spec.row.target
    if pieces is None or params.shards == NEVER:
        return _single_object(store, target, encode_whole())
    if params.shards == OVER_MAX_BYTES:
        with suppress(LimitExceededError):
            return _single_object(store, target, encode_whole())
    kind, window = spec.kind, spec.window
    size = whole_size(pieces, kind.row_shape, kind=kind.name, target=target, window=window)
    if isinstance(params.shards, int):
        fits = size <= params.max_bytes
        return _sharded(store, spec, pieces, params.shards, encode_whole() if fits and params.single_blob else None)
    count = count_for(size, max_bytes=params.max_bytes, kind=kind.name, target=target)
    return _sharded(store, spec, pieces, count, None)


def keep_blob(store: ObjectStore, target: Target, blob: Blob) -> bool:
    """Write a blob unless an intact one exists, and return whether it existed. A damaged one is replaced."""
    key = blob_key(target, blob.ref.kind, blob.ref.version)
    try:
        store.create(key, blob.data)
    except ConflictError:
        try:
            read_blob(store, target, blob.ref)
        except (CorruptObjectError, NotFoundError):
            store.put(key, blob.data)  # the key is a hash of the bytes, so this can only repair
        else:
            return True
    return False


def _single_object(store: ObjectStore, target: Target, blob: Blob) -> StoredArtifact:
    return StoredArtifact(blob.ref, keep_blob(store, target, blob))


def _sharded(
    store: ObjectStore, spec: BuildSpec, pieces: Iterable[Rows], count: int, whole: Blob | None
) -> StoredArtifact:
    """Write each shard as soon as it is encoded, then the single object, then the index that refers to them all."""
    row, kind, params, window, _ = spec
    shape, target = kind.row_shape, row.target
    shards: list[Shard] = []
    refs: list[ArtifactRef] = []
    existed: list[bool] = []
    for shard in encode_shards(
        pieces, shape, kind=kind.name, target=target, window=window, count=count, max_bytes=params.max_bytes
    ):
        existed.append(keep_blob(store, target, shard.blob))
        refs.append(shard.blob.ref)
        shards.append(Shard.of(shard.blob.ref, rows=shard.rows))
        reach("build.after_shard")
    if whole is not None:
        existed.append(keep_blob(store, target, whole))
    single = None if whole is None else Shard.of(whole.ref, rows=sum(shard.rows for shard in shards))
    ref, data = make_index(target, kind.name, window, key=shape.key or "", shards=shards, whole=single)
    existed.append(keep_blob(store, target, Blob(ref, data)))
    reach("build.after_index")
    return StoredArtifact(ref, all(existed), Shards(refs=tuple(refs), whole=None if whole is None else whole.ref))


class RecentRows:
    """Cache of decoded rows, by the version of their blob and its shape, up to `max_bytes` of blobs.

    A run compares a day with live more than once, and a later day with what an earlier one shipped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._rows: LRUCache[tuple[str, Shape], tuple[int, Envelope, Rows]] = LRUCache(
            max_bytes, getsizeof=itemgetter(0)
        )
        self._lock = Lock()

    def find(self, version: str, shape: Shape) -> tuple[Envelope, Rows] | None:
        """Return the rows of a blob whose bytes have this version, if they are cached."""
        with self._lock:
            found = self._rows.get((version, shape))
        return found and found[1:]

    def keep(self, version: str, shape: Shape, decoded: tuple[Envelope, Rows], *, size: int) -> None:
        """Cache the rows of a blob of `size` bytes, if it is small enough, instead of those that were used least."""
        if size <= self._rows.maxsize:
            with self._lock:
                self._rows[version, shape] = (size, *decoded)


_RECENT = RecentRows(MAX_RECENT_BYTES)


def read_rows(store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape) -> tuple[Envelope, Rows]:
    """Return the envelope and the rows of a blob, or of all shards of an index.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if it is not exactly the object referred to.
    """
    if form_of(ref.version) == SHARDS_FORM:
        return _read_shards(store, target, ref, shape)
    data = fetch_blob(store, target, ref)
    if decoded := _RECENT.find(ref.version, shape):
        prove_blob(data, target, ref)
        return decoded
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(decode, data, shape)
        prove_blob(data, target, ref)  # first: a digest mismatch takes precedence over an error of decoding
        decoded = decoding.result()
    _RECENT.keep(ref.version, shape, decoded, size=len(data))
    return decoded


def read_content(
    store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape | VectorShape
) -> tuple[Envelope, Rows | Vectors]:
    """Return the envelope of a blob and its content: rows, or vectors, as its kind defines.

    Raises as `read_rows` does.
    """
    if isinstance(shape, Shape):
        return read_rows(store, target, ref, shape)
    return parse_vectors(read_blob(store, target, ref), ref.version, shape, name=f"{ref.kind} {ref.version[:12]}")


def read_staged(
    store: ObjectStore, target: Target, staged: StagedArtifact, shape: Shape | VectorShape
) -> tuple[Envelope, Rows | Vectors]:
    """Return the envelope and the whole content of a day's artifact.

    Raises as `read_rows` does, and `CorruptObjectError` if the single object next to shards has other rows than they:
    services that read it would respond differently from those that read the shards.
    """
    envelope, content = read_content(store, target, staged.ref, shape)
    for ref in staged.named:
        if ref != staged.ref and isinstance(content, Rows) and isinstance(shape, Shape):
            single = read_rows(store, target, ref, shape)
            if single[0] != envelope or not single[1].frame().equals(content.frame()):
                raise CorruptObjectError(f"{ref.kind} {ref.version[:12]} holds other rows than its shards: build again")
    return envelope, content


def parse_vectors(data: bytes, version: str, shape: VectorShape, *, name: str) -> tuple[Envelope, Vectors]:
    """Return the envelope and the vectors of a blob.

    Raises `CorruptObjectError` if it does not match its kind's shape.
    """
    if form_of(version) != FORM:
        raise CorruptObjectError(f"{name} is {form_of(version)}, its kind is {FORM}: build it again")
    try:
        return decode_vectors(read_safetensors(data, name=name), read_metadata(data, name=name), shape)
    except InputError as error:
        raise CorruptObjectError(f"{error}: build it again") from error


def _read_shards(store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape) -> tuple[Envelope, Rows]:
    """Return the envelope that the shards of an index share, and all their rows."""
    index = read_index(store, target, ref)
    pieces: list[Rows] = []
    envelopes: set[Envelope] = set()
    for number, shard in enumerate(index.refs):
        envelope, rows = read_rows(store, target, shard, shape)
        name = f"shard {number} of {ref.kind} {ref.version[:12]}"
        if len(rows) != index.shards[number].rows or index.key != shape.key:
            raise CorruptObjectError(
                f"{name} holds {len(rows)} rows by {shape.key}, not as its index says: build it again"
            )
        check_shard_of_rows(rows, number, len(index.shards), name=name)
        pieces.append(rows)
        envelopes.add(envelope)
    if len(envelopes) > 1:
        raise CorruptObjectError(f"the shards of {ref.kind} {ref.version[:12]} are not of one window: build it again")
    return envelopes.pop(), join_shards(pieces)
