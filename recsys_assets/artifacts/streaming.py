"""Rows that come piece by piece, to the same blob as if they had come as one: no more than a piece is held as rows."""

from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO

import numpy as np

from recsys_assets.artifacts.codec import ZEROED_BUILD, Blob, head_of, tail_of, too_large
from recsys_assets.artifacts.encoding import Body, body_size, prepare, write_body
from recsys_assets.artifacts.rows import Rows, Shape
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.raw.part import PADDING


def encode_pieces(
    pieces: Iterable[Rows], shape: Shape, *, kind: str, target: Target, window: Window, max_bytes: int
) -> Blob:
    """Write pieces of rows, in order and each with whole lists, as the kind's JSON document named by its content.

    Equal rows give the bytes of `codec.encode`, however they are parted. Raises `LimitExceededError` as soon as the
    blob is larger than `max_bytes`: what comes after is not even asked for.
    """
    out, room = BytesIO(), max_bytes - tail_size(window)
    out.write(head_of(shape, kind=kind, target=target, window=window) + b"[")
    first = True
    for piece in pieces:
        inner = inner_bytes(prepare(piece))
        if inner:
            out.write(b"" if first else b",")
            out.write(inner)
            first = False
        if out.tell() >= room:
            raise too_large(kind, target, found=f"more than {out.tell():,}", max_bytes=max_bytes)
    out.write(b"]")
    return seal(out, kind=kind, window=window)


def inner_bytes(body: Body) -> bytes:
    """Return a body's objects without the brackets around them."""
    size = body_size(body)
    out = np.empty(size + PADDING, np.uint8)
    for _ in write_body(body, out, 0):
        pass
    return out[1 : size - 1].tobytes()


def seal(out: BytesIO, *, kind: str, window: Window) -> Blob:
    """Return the blob of which `out` holds everything up to the end of its array."""
    version = sha256(out.getbuffer())
    version.update(ZEROED_BUILD)
    out.write(tail_of(version.hexdigest(), window))
    data = out.getvalue()
    return Blob(ArtifactRef(kind, version.hexdigest(), len(data), sha256(data).hexdigest()), data)


def tail_size(window: Window) -> int:
    """Return how many bytes stand behind the array of every blob of a window."""
    return len(tail_of("0" * 64, window))
