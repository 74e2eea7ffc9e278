"""Rows and embeddings to immutable blobs under their content hash, whole or piece by piece."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO

import numpy as np

from recsys_assets.artifact_format import ZEROED_BUILD, Blob, head_of, tail_of, tail_size, too_large
from recsys_assets.compiled.strings import PADDING
from recsys_assets.encoding.encoder import Body, body_size, prepare, write_body
from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors, encode_vectors
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.kind_descriptions import Shape


def encode(rows: Rows, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Write rows as the kind's JSON document and name it by its content.

    Raises `LimitExceededError` before anything is built if the blob would be larger than `max_bytes`.
    """
    head = head_of(rows.shape.body, kind=kind, target=target, window=window)
    body = prepare(rows)
    size = len(head) + body_size(body) + tail_size(window)
    if size > max_bytes:
        raise too_large(kind, target, found=f"{size:,}", max_bytes=max_bytes)
    return _write(head, body, size, kind=kind, window=window)


def _write(head: bytes, body: Body, size: int, *, kind: str, window: Window) -> Blob:
    """Write all bytes into their final place; what was just written is hashed while the next block is.

    Version and digest come from one pass: the texts they hash differ in their ends only.
    """
    stream = BytesIO(bytes(size))  # which large zeros the system hands out unwritten
    with stream.getbuffer() as view:
        view[: len(head)] = head
        content, done = hashlib.sha256(head), len(head)
        with ThreadPoolExecutor(1) as hashing:
            for end in write_body(body, np.frombuffer(view, np.uint8), done):
                hashing.submit(content.update, view[done:end])
                done = end
        proof = content.copy()
        proof.update(ZEROED_BUILD)
        version = proof.hexdigest()
        tail = tail_of(version, window)
        view[done:] = tail
        content.update(tail)
    # The stream hands out the very buffer that was filled: half the memory of a copy.
    return Blob(ArtifactRef(kind, version, size, content.hexdigest()), stream.getvalue())


def encode_pieces(
    pieces: Iterable[Rows], shape: Shape, *, kind: str, target: Target, window: Window, max_bytes: int
) -> Blob:
    """Write pieces of rows, in order and each with whole lists, as the kind's JSON document named by its content.

    Equal rows give the bytes of `codec.encode`, however they are cut. Raises `LimitExceededError` as soon as the
    blob is larger than `max_bytes`: what comes after is not even asked for.
    """
    out, limit = BytesIO(), max_bytes - tail_size(window)
    out.write(head_of(shape.body, kind=kind, target=target, window=window) + b"[")
    first = True
    for piece in pieces:
        inner = inner_bytes(prepare(piece))
        if inner:
            out.write(b"" if first else b",")
            out.write(inner)
            first = False
        if out.tell() >= limit:
            raise too_large(kind, target, found=f"more than {out.tell():,}", max_bytes=max_bytes)
    out.write(b"]")
    return seal(out, kind=kind, window=window)


def cut_to_fit(
    pieces: Iterable[Rows], shape: Shape, *, kind: str, target: Target, window: Window, max_bytes: int
) -> list[Rows]:
    """Return the first members of a kind that is one list, as many as a blob of `max_bytes` holds."""
    room = max_bytes - len(head_of(shape.body, kind=kind, target=target, window=window)) - len("[]") - tail_size(window)
    kept: list[Rows] = []
    for piece in pieces:
        room -= len(",") if kept else 0
        fits = bisect_right(range(len(piece) + 1), room, key=lambda n, piece=piece: _inner_size(piece.head(n))) - 1
        if fits > 0:
            kept.append(piece.head(fits))
            room -= _inner_size(kept[-1])
        if fits < len(piece):
            break
    return kept


def _inner_size(rows: Rows) -> int:
    return body_size(prepare(rows)) - len("[]")


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


def encode_content(content: Rows | Vectors, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Write rows as the kinds' JSON and vectors as safetensors, named by their content.

    Raises `LimitExceededError` before anything is built if the blob would be larger than `max_bytes`.
    """
    if isinstance(content, Rows):
        return encode(content, kind=kind, target=target, window=window, max_bytes=max_bytes)
    return encode_vectors(content, kind=kind, target=target, window=window, max_bytes=max_bytes)
