"""Rows to an immutable blob under its content hash, and the blob's bytes back to rows."""

import hashlib
from dataclasses import dataclass

import numpy as np

from recsys_assets.artifacts.encoding import body_size, write_body
from recsys_assets.artifacts.escaping import quote
from recsys_assets.artifacts.rows import Rows
from recsys_assets.errors import LimitExceededError
from recsys_assets.identity import ArtifactRef, Target, Window, rfc3339

ZEROED_BUILD = b',"build":{"built_at":"","version":""}}'


@dataclass(frozen=True, slots=True)
class Blob:
    """One artifact as it is stored: its reference and its bytes, which are a pure function of the version."""

    ref: ArtifactRef
    data: bytes


def encode(rows: Rows, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Write rows as the kind's JSON document and name it by its content.

    Version and digest come from one pass of SHA-256 over the shared beginning: only the ends differ. Raises
    `LimitExceededError` before anything is built if the blob would be larger than `max_bytes`.
    """
    head = _head(rows, kind=kind, target=target, window=window)
    tail_size = len(_tail("0" * 64, window))
    size = len(head) + body_size(rows) + 1 + tail_size
    if size > max_bytes:
        raise LimitExceededError(
            f"{kind} of {target} would have {size} bytes, artifacts.{kind}.max_bytes allows {max_bytes}: "
            "lower a cut (max_items, max_neighbors, max_items_per_user), or raise max_bytes if consumers can read it",
        )
    out = np.empty(size, np.uint8)
    end = size - tail_size
    out[: len(head)] = np.frombuffer(head, np.uint8)
    write_body(rows, out[len(head) : end - 1])
    out[end - 1] = ord("]")
    content = hashlib.sha256(out[:end])
    proof = content.copy()
    proof.update(ZEROED_BUILD)
    tail = _tail(proof.hexdigest(), window)
    content.update(tail)
    out[end:] = np.frombuffer(tail, np.uint8)
    return Blob(ArtifactRef(kind, proof.hexdigest(), size, content.hexdigest()), out.tobytes())


def _head(rows: Rows, *, kind: str, target: Target, window: Window) -> bytes:
    segment = f'"segment":{quote(target.segment)},' if target.segment else ""
    return (
        f'{{"v":1,"artifact_type":{quote(kind)},"tenant":{quote(target.tenant)},"surface":{quote(target.surface)},'
        f'{segment}"window":{{"start":"{rfc3339(window.start)}","end":"{rfc3339(window.end)}"}},'
        f'"{rows.shape.body}":['
    ).encode()


def _tail(version: str, window: Window) -> bytes:
    return f',"build":{{"built_at":"{rfc3339(window.end)}","version":"{version}","source_hash":"{version}"}}}}'.encode()
