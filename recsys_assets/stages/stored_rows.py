"""What a stored blob holds, rows or vectors: its bytes are proven while they are decoded, on a thread each."""

from concurrent.futures import ThreadPoolExecutor

from recsys_assets.artifacts.decoding import Envelope, decode
from recsys_assets.artifacts.rows import Rows, Shape
from recsys_assets.artifacts.vector_codec import decode_vectors
from recsys_assets.artifacts.vectors import FORM, Vectors, VectorShape
from recsys_assets.errors import CorruptObjectError, InputError
from recsys_assets.identity import ArtifactRef, Target, form_of
from recsys_assets.imports.safetensors import read_metadata, read_safetensors
from recsys_assets.manifest.blob import fetch_blob, prove_blob, read_blob
from recsys_assets.storage.store import ObjectStore


def read_rows(store: ObjectStore, target: Target, ref: ArtifactRef, shape: Shape) -> tuple[Envelope, Rows]:
    """Return what a blob says of itself, and its rows.

    Raises `NotFoundError` if it is missing, `CorruptObjectError` if it is not exactly the one referred to.
    """
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


def parse_vectors(data: bytes, version: str, shape: VectorShape, *, name: str) -> tuple[Envelope, Vectors]:
    """Return what a blob of vectors says of itself, and its vectors; `CorruptObjectError` if it holds others."""
    if form_of(version) != FORM:
        raise CorruptObjectError(f"{name} is {form_of(version)}, its kind is {FORM}: build it again")
    try:
        return decode_vectors(read_safetensors(data, name=name), read_metadata(data, name=name), shape)
    except InputError as error:
        raise CorruptObjectError(f"{error}: build it again") from error
