"""Codec of rows and vectors to immutable, content-addressed blobs: whole, piece by piece, or in shards."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.artifact_format import (
    MAX_SHARDS,
    ZEROED_BUILD,
    Blob,
    head_of,
    shard_of,
    tail_of,
    tail_size,
    too_large,
)
from recsys_assets.compiled.arrays import PADDING, Codes, Numbers
from recsys_assets.encoding.encoder import Body, body_size, prepare, write_body
from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors, encode_vectors
from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.kind_descriptions import Shape

IN_MEMORY_BYTES = 64 << 20  # larger amounts of encoded, unsealed rows are spooled to a temporary file


def encode(rows: Rows, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Encode rows as the kind's JSON document, addressed by its content.

    Raises `LimitExceededError` before encoding if the blob would be larger than `max_bytes`.
    """
    head = head_of(rows.shape.body, kind=kind, target=target, window=window)
    body = prepare(rows)
    size = len(head) + body_size(body) + tail_size(window)
    if size > max_bytes:
        raise too_large(kind, target, found=f"{size:,}", max_bytes=max_bytes)
    return _write(head, body, size, kind=kind, window=window)


def _write(head: bytes, body: Body, size: int, *, kind: str, window: Window) -> Blob:
    """Write all bytes into their final buffer. Each block is hashed while the next one is written.

    Version and digest come from one pass, because the hashed texts differ only at their ends.
    """
    stream = BytesIO(bytes(size))  # the system provides large zeroed buffers lazily
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
    # The stream returns the filled buffer itself, which halves the memory of a copy.
    return Blob(ArtifactRef(kind, version, size, content.hexdigest()), stream.getvalue())


def encode_pieces(
    pieces: Iterable[Rows], shape: Shape, *, kind: str, target: Target, window: Window, max_bytes: int
) -> Blob:
    """Encode pieces of rows, in order and with whole lists, as the kind's JSON document addressed by its content.

    Equal rows give the same bytes as `codec.encode`, however they are split. Raises `LimitExceededError` as soon as the
    blob exceeds `max_bytes`, without reading later pieces.
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
    """Return as many first members of a single-list kind as fit into a blob of `max_bytes`."""
    space = (
        max_bytes - len(head_of(shape.body, kind=kind, target=target, window=window)) - len("[]") - tail_size(window)
    )
    pieces_that_fit: list[Rows] = []
    for piece in pieces:
        space -= len(",") if pieces_that_fit else 0
        body = prepare(piece)  # once: preparing costs far more than measuring
        fits = bisect_right(range(len(piece) + 1), space, key=lambda n, body=body: _inner_size(body, n)) - 1
        if fits > 0:
            pieces_that_fit.append(piece.head(fits))
            space -= _inner_size(body, fits)
        if fits < len(piece):
            break
    return pieces_that_fit


def _inner_size(body: Body, count: int) -> int:
    """Return the size of the first `count` members of the only list, without brackets."""
    first = body._replace(offsets=np.array([0, count]), members=body.members[:count], values=body.values[:count])
    return body_size(first) - len("[]")


def inner_bytes(body: Body) -> bytes:
    """Return a body's objects without the surrounding brackets."""
    size = body_size(body)
    out = np.empty(size + PADDING, np.uint8)
    for _ in write_body(body, out, 0):
        pass
    return out[1 : size - 1].tobytes()


def seal(out: BytesIO, *, kind: str, window: Window) -> Blob:
    """Return the blob from `out`, which contains everything through the end of its array."""
    version = sha256(out.getbuffer())
    version.update(ZEROED_BUILD)
    out.write(tail_of(version.hexdigest(), window))
    data = out.getvalue()
    return Blob(ArtifactRef(kind, version.hexdigest(), len(data), sha256(data).hexdigest()), data)


def encode_content(content: Rows | Vectors, *, kind: str, target: Target, window: Window, max_bytes: int) -> Blob:
    """Encode rows as JSON and vectors as safetensors, addressed by their content.

    Raises `LimitExceededError` before encoding if the blob would be larger than `max_bytes`.
    """
    if isinstance(content, Rows):
        return encode(content, kind=kind, target=target, window=window, max_bytes=max_bytes)
    return encode_vectors(content, kind=kind, target=target, window=window, max_bytes=max_bytes)


class SealedShard(msgspec.Struct, frozen=True):
    """Shard, which is a complete artifact document, and its number of rows."""

    blob: Blob
    rows: int


@dataclass(slots=True)
class _ShardSpans:
    """Spans of the spool with the encoded rows of one shard, piece by piece."""

    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    size: int = 0
    rows: int = 0


def whole_size(pieces: Iterable[Rows], shape: Shape, *, kind: str, target: Target, window: Window) -> int:
    """Return the size in bytes of the single object with all these rows, without encoding it."""
    size = len(head_of(shape.body, kind=kind, target=target, window=window)) + len("[]") + tail_size(window)
    inner = [body_size(prepare(piece)) - len("[]") for piece in pieces if len(piece)]
    return size + sum(inner) + max(len(inner) - 1, 0)  # commas between pieces


def count_for(size: int, *, max_bytes: int, kind: str, target: Target) -> int:
    """Return the smallest power of two of shards that are at most half full on average, so that none exceeds the limit.

    Raises `LimitExceededError` if that is more than `MAX_SHARDS`.
    """
    count = 1
    while count * max_bytes < 2 * size:
        count *= 2
    if count > MAX_SHARDS:
        raise LimitExceededError(
            f"{kind} of {target} would have {size:,} bytes, too many for {MAX_SHARDS} shards of at most {max_bytes:,}: "
            f"raise artifacts.{kind}.max_bytes, or lower a cut (max_items_per_user)"
        )
    return count


def encode_shards(
    pieces: Iterable[Rows],
    shape: Shape,
    *,
    kind: str,
    target: Target,
    window: Window,
    count: int,
    max_bytes: int,
) -> Iterator[SealedShard]:
    """Yield the shards by number, each an artifact with the rows, in order, whose keys hash to that shard.

    Pieces must be in order and with whole lists. Equal rows give equal shards, however they are split. Every row is
    encoded once. One piece and one shard are in memory. Raises `LimitExceededError` for a shard over `max_bytes`.
    """
    head = head_of(shape.body, kind=kind, target=target, window=window)
    with SpooledTemporaryFile(IN_MEMORY_BYTES) as spool:
        waiting = [_ShardSpans() for _ in range(count)]
        for piece in pieces:
            _spool(piece, spool, waiting)
        for number, shard in enumerate(waiting):
            size = len(head) + len("[]") + shard.size + max(len(shard.spans) - 1, 0) + tail_size(window)
            if size > max_bytes:
                raise LimitExceededError(
                    f"shard {number} of {count} of {kind} of {target} would have {size:,} bytes, "
                    f"artifacts.{kind}.max_bytes allows {max_bytes:,}: raise artifacts.{kind}.shards, or lower a cut"
                )
            yield SealedShard(seal(_joined(head, spool, shard), kind=kind, window=window), shard.rows)


def check_shard_of_rows(rows: Rows, number: int, count: int, *, name: str) -> None:
    """Raise `CorruptObjectError` if a row of shard `number` belongs to another shard, where readers look for it."""
    for key in rows.key_ids:
        actual = shard_of(key, count)
        if actual != number:
            raise CorruptObjectError(
                f"{name}: {key!r:.80} is in shard {number}, expected shard {actual}: build it again"
            )


def join_shards(shards: Sequence[Rows]) -> Rows:
    """Return the rows of all shards, ordered by key."""
    key_ids = pl.concat([rows.key_ids.gather(pl.Series(rows.keys)) for rows in shards])
    member_ids = pl.concat([rows.member_ids for rows in shards]).unique().sort()
    order = key_ids.arg_sort().to_numpy()
    lengths = np.concatenate([np.diff(rows.offsets) for rows in shards])
    starts = np.cumsum(lengths) - lengths
    members = np.concatenate([_recoded(rows, member_ids) for rows in shards])
    values = np.concatenate([rows.values for rows in shards])
    places = _places(starts[order], lengths[order])
    return Rows(
        shape=shards[0].shape,
        keys=np.arange(len(order), dtype=np.uint32),
        offsets=np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64),
        members=members[places],
        values=values[places],
        key_ids=key_ids.gather(order),
        member_ids=member_ids,
    )


def _spool(piece: Rows, spool: IO[bytes], waiting: Sequence[_ShardSpans]) -> None:
    """Encode the rows of a piece shard by shard. Fixed texts and ids are prepared once."""
    if not len(piece):
        return
    keys = piece.key_ids.gather(pl.Series(piece.keys))
    shard_of_row = np.fromiter((shard_of(key, len(waiting)) for key in keys), np.int64, len(keys))
    order = np.argsort(shard_of_row, kind="stable")
    body = _permuted(prepare(piece), order)
    ends = np.cumsum(np.bincount(shard_of_row, minlength=len(waiting)))
    first = 0
    for shard, last in zip(waiting, ends.tolist(), strict=True):
        if last > first:
            inner = inner_bytes(body._replace(keys=body.keys[first:last], offsets=body.offsets[first : last + 1]))
            shard.spans.append((spool.tell(), len(inner)))
            shard.size += len(inner)
            shard.rows += last - first
            spool.write(inner)
        first = last


def _permuted(body: Body, order: NDArray[np.int64]) -> Body:
    """Return the body with its lists in another order."""
    starts, lengths = body.offsets[:-1][order], np.diff(body.offsets)[order]
    places = _places(starts, lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return body._replace(
        keys=body.keys[order], offsets=offsets, members=body.members[places], values=body.values[places]
    )


def _joined(head: bytes, spool: IO[bytes], shard: _ShardSpans) -> BytesIO:
    """Return the bytes of a shard through the end of its array."""
    out = BytesIO()
    out.write(head + b"[")
    for number, (start, length) in enumerate(shard.spans):
        out.write(b"," if number else b"")
        spool.seek(start)
        out.write(spool.read(length))
    out.write(b"]")
    return out


def _places(starts: Numbers, lengths: Numbers) -> NDArray[np.int64]:
    """Return the positions of the members of the lists that start at `starts`, list by list."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)


def _recoded(rows: Rows, ids: pl.Series) -> Codes:
    """Return the members as codes of `ids`, which contains all their ids."""
    return ids.search_sorted(rows.member_ids).to_numpy().astype(np.uint32)[rows.members]
