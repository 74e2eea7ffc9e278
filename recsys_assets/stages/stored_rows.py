"""What a stored blob holds, rows or vectors: its bytes are proven while they are decoded, on a thread each."""

from concurrent.futures import ThreadPoolExecutor

from recsys_assets.artifacts.decoding import Envelope, decode
from recsys_assets.artifacts.rows import Rows, Shape
from recsys_assets.artifacts.sharding import check_places, join_shards
from recsys_assets.artifacts.vector_codec import decode_vectors
from recsys_assets.artifacts.vectors import FORM, Vectors, VectorShape
from recsys_assets.errors import CorruptObjectError, InputError
from recsys_assets.identity import ArtifactRef, Target, form_of
from recsys_assets.imports.safetensors import read_metadata, read_safetensors
from recsys_assets.manifest.blob import fetch_blob, prove_blob, read_blob
from recsys_assets.manifest.documents import StagedArtifact
from recsys_assets.manifest.shards import read_index
from recsys_assets.sharding import SHARDS_FORM
from recsys_assets.storage.store import ObjectStore


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
        check_places(rows, number, len(index.shards), name=name)
        found.append(rows)
        envelopes.add(envelope)
    if len(envelopes) > 1:
        raise CorruptObjectError(f"the shards of {ref.kind} {ref.version[:12]} are not of one window: build it again")
    return envelopes.pop(), join_shards(found)
