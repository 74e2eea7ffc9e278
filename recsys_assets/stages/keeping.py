"""The objects of an artifact, kept in the store as they are encoded: one blob, or shards with an index over them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from recsys_assets.artifacts.codec import Blob
from recsys_assets.artifacts.rows import Rows
from recsys_assets.artifacts.sharding import count_for, encode_shards, whole_size
from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.manifest.blob import read_blob
from recsys_assets.manifest.documents import Shards
from recsys_assets.manifest.faults import reach
from recsys_assets.manifest.layout import blob_key
from recsys_assets.manifest.shards import Shard, make_index
from recsys_assets.sharding import NEVER
from recsys_assets.stages.order import Order
from recsys_assets.storage.store import ObjectStore


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


def keep_artifact(
    store: ObjectStore, order: Order, encode_whole: Callable[[], Blob], pieces: Iterable[Rows] | None
) -> Kept:
    """Write an artifact's objects in the form that its parameters ask for, and return what names them.

    `pieces` are its rows, which may be gone through more than once; None for a kind without rows, which is one object.
    Shards are written one after the other, the index last. Raises `LimitExceededError` for an object over `max_bytes`.
    """
    params, target = order.params, order.row.target
    if pieces is None or params.shards == NEVER:
        return _one(store, target, encode_whole())
    kind, window = order.kind, order.window
    size = whole_size(pieces, kind.row_shape, kind=kind.name, target=target, window=window)
    fits = size <= params.max_bytes
    if isinstance(params.shards, int):
        return _sharded(store, order, pieces, params.shards, encode_whole() if fits and params.single_blob else None)
    if fits:
        return _one(store, target, encode_whole())
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
            store.put(key, blob.data)  # its bytes are a pure function of its name, so this can only mend
        else:
            return True
    return False


def _one(store: ObjectStore, target: Target, blob: Blob) -> Kept:
    return Kept(blob.ref, keep_blob(store, target, blob))


def _sharded(store: ObjectStore, order: Order, pieces: Iterable[Rows], count: int, whole: Blob | None) -> Kept:
    """Write the shards, each as soon as it is encoded, the single object, and the index, which names them all."""
    row, kind, params, window = order
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
