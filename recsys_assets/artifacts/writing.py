"""What a kernel built to an immutable blob, in the form that its kind has."""

from recsys_assets.artifacts.codec import Blob, encode
from recsys_assets.artifacts.rows import Rows
from recsys_assets.artifacts.vector_codec import encode_vectors
from recsys_assets.artifacts.vectors import Vectors
from recsys_assets.identity import Target, Window


def encode_content(content: Rows | Vectors, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Write rows as the kinds' JSON and vectors as safetensors, named by their content.

    Raises `LimitExceededError` before anything is built if the blob would be larger than `max_bytes`.
    """
    if isinstance(content, Rows):
        return encode(content, kind=kind, target=target, window=window, max_bytes=max_bytes)
    return encode_vectors(content, kind=kind, target=target, window=window, max_bytes=max_bytes)
