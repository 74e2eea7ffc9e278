"""Artifacts in the store: written as they are encoded, whole or in shards, and decoded again with proof."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, TypedDict

from msgspec import UNSET, UnsetType

from recsys_assets.artifact_format import Blob, Envelope
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
from recsys_assets.settings.target import TargetSettings
from recsys_assets.sharding import NEVER, OVER_MAX_BYTES, SHARDS_FORM
from recsys_assets.storage.store import ObjectStore


class BuildSpec(NamedTuple):
    """Specification of one build: for whom, which kind, of which days."""

    row: TargetSettings
    kind: Kind
    params: KindParams
    window: Window
    blocked: frozenset[str] = frozenset()  # items that it names nowhere


class Named(TypedDict):
    """What every object of an artifact is encoded with."""

    kind: str
    target: Target
    window: Window
    max_bytes: int


def named(spec: BuildSpec) -> Named:
    """Return what every object of an artifact is encoded with."""
    row, kind, params, window, _ = spec
    return {"kind": kind.name, "target": row.target, "window": window, "max_bytes": params.max_bytes}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a day's reference names: a blob, or an index with its shards; and whether every object stood already."""

    ref: ArtifactRef
    reused: bool
    shards: Shards | UnsetType = UNSET

    @property
    def size(self) -> int:
        """Bytes of all rows: of the blob, or of the shards."""
        return self.ref.size if isinstance(self.shards, UnsetType) else sum(ref.size for ref in self.shards.refs)


@dataclass(frozen=True, slots=True)
class BuildResult:
    """One artifact as it was built and stored: its first rows, its facts and its inputs."""

    kept: Kept
    first: Rows | Vectors | None  # the first piece of its rows: all of them if they were made here
    lists: int  # objects in the body's array
    left_out: Excluded
    numbers: Mapping[str, Scalar]
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...]
    refused: tuple[date, ...] = ()


def keep_artifact(
    store: ObjectStore, order: BuildSpec, encode_whole: Callable[[], Blob], pieces: Iterable[Rows] | None
) -> Kept:
    """Write an artifact's objects in the form that its parameters ask for, and return what names them.

    `pieces` are its rows, which may be gone through more than once; None for a kind without rows, which is one object.
    Shards are written one after the other, the index last. Raises `LimitExceededError` for an object over `max_bytes`.
    """
    params, target = order.params, order.row.target
    if pieces is None or params.shards == NEVER:
        return _one(store, target, encode_whole())
    if params.shards == OVER_MAX_BYTES:
        with suppress(LimitExceededError):
            return _one(store, target, encode_whole())
    kind, window = order.kind, order.window
    size = whole_size(pieces, kind.row_shape, kind=kind.name, target=target, window=window)
    if isinstance(params.shards, int):
        fits = size <= params.max_bytes
        return _sharded(store, order, pieces, params.shards, encode_whole() if fits and params.single_blob else None)
    count = count_for(size, max_bytes=params.max_bytes, kind=kind.name, target=target)
    return _sharded(store, order, pieces, count, None)


def keep_blob(store: ObjectStore, target: Target, blob: Blob) -> bool:
    """Write a blob once; one that stands whole is kept, a damaged one is written again. Return whether it stood."""
    key = blob_key(target, blob.ref.kind, blob.ref.version)
    try:
        store.create(key, blob.data)
    except ConflictError:
        try:
            read_blob(store, target, blob.ref)
        except (CorruptObjectError, NotFoundError):
            store.put(key, blob.data)  # its bytes are a pure function of its name, so this can only fix
        else:
            return True
    return False


def _one(store: ObjectStore, target: Target, blob: Blob) -> Kept:
    return Kept(blob.ref, keep_blob(store, target, blob))


def _sharded(store: ObjectStore, order: BuildSpec, pieces: Iterable[Rows], count: int, whole: Blob | None) -> Kept:
    """Write the shards, each as soon as it is encoded, the single object, and the index, which names them all."""
    row, kind, params, window, _ = order
    shape, target = kind.row_shape, row.target
    shards: list[Shard] = []
    refs: list[ArtifactRef] = []
    stood: list[bool] = []
    for shard in encode_shards(
        pieces, shape, kind=kind.name, target=target, window=window, count=count, max_bytes=params.max_bytes
    ):
        stood.append(keep_blob(store, target, shard.blob))
        refs.append(shard.blob.ref)
        shards.append(Shard.of(shard.blob.ref, rows=shard.rows))
        reach("build.after_shard")
    if whole is not None:
        stood.append(keep_blob(store, target, whole))
    single = None if whole is None else Shard.of(whole.ref, rows=sum(shard.rows for shard in shards))
    ref, data = make_index(target, kind.name, window, key=shape.key or "", shards=shards, whole=single)
    stood.append(keep_blob(store, target, Blob(ref, data)))
    reach("build.after_index")
    return Kept(ref, all(stood), Shards(refs=tuple(refs), whole=None if whole is None else whole.ref))


def read_rows(store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape) -> tuple[Envelope, Rows]:
    """Return what a blob says of itself, and its rows; of an index, the rows of all its shards.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if it is not exactly the one referred to.
    """
    if form_of(ref.version) == SHARDS_FORM:
        return _read_shards(store, target, ref, shape)
    data = fetch_blob(store, target, ref)
    with ThreadPoolExecutor(1) as pool:
        decoded = pool.submit(decode, data, shape)
        prove_blob(data, target, ref)  # first: of other bytes it matters that they are others, not how they read
        return decoded.result()


def read_content(
    store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape | VectorShape
) -> tuple[Envelope, Rows | Vectors]:
    """Return what a blob says of itself, and what it holds in the form that its kind has.

    Raises as `read_rows` does.
    """
    if isinstance(shape, Shape):
        return read_rows(store, target, ref, shape)
    return parse_vectors(read_blob(store, target, ref), ref.version, shape, name=f"{ref.kind} {ref.version[:12]}")


def read_staged(
    store: ObjectStore, target: Target, staged: StagedArtifact, shape: Shape | VectorShape
) -> tuple[Envelope, Rows | Vectors]:
    """Return what a day's artifact says of itself, and all that it holds.

    Raises as `read_rows` does, and if the single object beside shards does not hold their rows: services that read the
    one would answer otherwise than those that read the other.
    """
    envelope, content = read_content(store, target, staged.ref, shape)
    for ref in staged.named:
        if ref != staged.ref and isinstance(content, Rows) and isinstance(shape, Shape):
            beside = read_rows(store, target, ref, shape)
            if beside[0] != envelope or not beside[1].frame().equals(content.frame()):
                raise CorruptObjectError(f"{ref.kind} {ref.version[:12]} holds other rows than its shards: build again")
    return envelope, content


def parse_vectors(data: bytes, version: str, shape: VectorShape, *, name: str) -> tuple[Envelope, Vectors]:
    """Return what a blob of vectors says of itself, and its vectors; `CorruptObjectError` if it holds others."""
    if form_of(version) != FORM:
        raise CorruptObjectError(f"{name} is {form_of(version)}, its kind is {FORM}: build it again")
    try:
        return decode_vectors(read_safetensors(data, name=name), read_metadata(data, name=name), shape)
    except InputError as error:
        raise CorruptObjectError(f"{error}: build it again") from error


def _read_shards(store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape) -> tuple[Envelope, Rows]:
    """Return what the shards of an index say of themselves, which is the same, and all their rows."""
    index = read_index(store, target, ref)
    found: list[Rows] = []
    envelopes: set[Envelope] = set()
    for number, shard in enumerate(index.refs):
        envelope, rows = read_rows(store, target, shard, shape)
        name = f"shard {number} of {ref.kind} {ref.version[:12]}"
        if len(rows) != index.shards[number].rows or index.key != shape.key:
            raise CorruptObjectError(
                f"{name} holds {len(rows)} rows by {shape.key}, not as its index says: build it again"
            )
        check_shard_of_rows(rows, number, len(index.shards), name=name)
        found.append(rows)
        envelopes.add(envelope)
    if len(envelopes) > 1:
        raise CorruptObjectError(f"the shards of {ref.kind} {ref.version[:12]} are not of one window: build it again")
    return envelopes.pop(), join_shards(found)
