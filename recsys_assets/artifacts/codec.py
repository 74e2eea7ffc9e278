"""Rows to an immutable blob under its content hash; `decoding` reads its bytes back."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from recsys_assets.artifacts.encoding import Body, body_size, prepare, write_body
from recsys_assets.artifacts.escaping import quote
from recsys_assets.artifacts.rows import Rows, Shape
from recsys_assets.errors import LimitExceededError
from recsys_assets.identity import ArtifactRef, Target, Window, rfc3339

ZEROED_BUILD = b',"build":{"built_at":"","version":""}}'
_NO_VERSION = "0" * 64


@dataclass(frozen=True, slots=True)
class Blob:
    """One artifact as it is stored: its reference and its bytes, which are a pure function of the version."""

    ref: ArtifactRef
    data: bytes


def encode(rows: Rows, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Write rows as the kind's JSON document and name it by its content.

    Raises `LimitExceededError` before anything is built if the blob would be larger than `max_bytes`.
    """
    head = head_of(rows.shape, kind=kind, target=target, window=window)
    body = prepare(rows)
    size = len(head) + body_size(body) + len(tail_of(_NO_VERSION, window))
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


def too_large(kind: str, target: Target, *, found: str, max_bytes: int) -> LimitExceededError:
    """Return the error that says how large a blob would be, and which knobs there are."""
    return LimitExceededError(
        f"{kind} of {target} would have {found} bytes, artifacts.{kind}.max_bytes allows {max_bytes:,}: "
        "lower a cut (max_items, max_neighbors, max_items_per_user) or the factors, or raise max_bytes if consumers "
        "can read it",
    )


def head_of(shape: Shape, *, kind: str, target: Target, window: Window) -> bytes:
    """Return what stands before the body's array."""
    segment = f'"segment":{quote(target.segment)},' if target.segment else ""
    return (
        f'{{"v":1,"artifact_type":{quote(kind)},"tenant":{quote(target.tenant)},"surface":{quote(target.surface)},'
        f'{segment}"window":{{"start":"{rfc3339(window.start)}","end":"{rfc3339(window.end)}"}},'
        f'"{shape.body}":'
    ).encode()


def tail_of(version: str, window: Window) -> bytes:
    """Return what stands behind the body's array."""
    return f',"build":{{"built_at":"{rfc3339(window.end)}","version":"{version}","source_hash":"{version}"}}}}'.encode()
