"""Rows of a stored blob: its bytes are proven while they are decoded, on a thread each."""

from concurrent.futures import ThreadPoolExecutor

from recsys_assets.artifacts.decoding import Envelope, decode
from recsys_assets.artifacts.rows import Rows, Shape
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.manifest.blob import fetch_blob, prove_blob
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
