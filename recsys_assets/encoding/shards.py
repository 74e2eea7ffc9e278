"""Rows as shards: split by the hash of their keys while they are encoded, a piece at a time; and joined again."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.artifact_format import Blob, head_of, tail_size
from recsys_assets.compiled.strings import Codes, Numbers
from recsys_assets.encoding.codec import inner_bytes, seal
from recsys_assets.encoding.encoder import Body, body_size, prepare
from recsys_assets.encoding.rows import Rows
from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.identity import Target, Window
from recsys_assets.kind_descriptions import Shape
from recsys_assets.sharding import MAX_SHARDS, shard_of

IN_MEMORY_BYTES = 64 << 20  # what is encoded and not yet sealed beyond that waits in a temporary file


@dataclass(frozen=True, slots=True)
class SealedShard:
    """One shard, an artifact document of its own, and how many rows it holds."""

    blob: Blob
    rows: int


@dataclass(slots=True)
class _Waiting:
    """Spans of the spool that hold the encoded rows of one shard, piece after piece."""

    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    size: int = 0
    rows: int = 0


def whole_size(pieces: Iterable[Rows], shape: Shape, *, kind: str, target: Target, window: Window) -> int:
    """Return how many bytes the single object with all these rows would have; nothing is encoded for it."""
    size = len(head_of(shape.body, kind=kind, target=target, window=window)) + len("[]") + tail_size(window)
    inner = [body_size(prepare(piece)) - len("[]") for piece in pieces if len(piece)]
    return size + sum(inner) + max(len(inner) - 1, 0)  # a comma between two


def count_for(size: int, *, max_bytes: int, kind: str, target: Target) -> int:
    """Return the least power of two of shards that leaves each about half full, so that none is over by chance.

    Raises `LimitExceededError` if that is more than a release lists.
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
    """Yield the shards by number, each an artifact with the rows, in their order, whose keys' hash is its own.

    Pieces come in order and with whole lists. Equal rows give equal shards, however they are split. Every row is
    encoded once; in memory are one piece and one shard. Raises `LimitExceededError` for a shard over `max_bytes`.
    """
    head = head_of(shape.body, kind=kind, target=target, window=window)
    with SpooledTemporaryFile(IN_MEMORY_BYTES) as spool:
        waiting = [_Waiting() for _ in range(count)]
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


def check_places(rows: Rows, number: int, count: int, *, name: str) -> None:
    """Raise `CorruptObjectError` if a row of shard `number` belongs to another one: nobody would ever find it."""
    for key in rows.key_ids:
        found = shard_of(key, count)
        if found != number:
            raise CorruptObjectError(f"{name}: {key!r:.80} stands in shard {number}, not in {found}: build it again")


def join_shards(shards: Sequence[Rows]) -> Rows:
    """Return the rows of all shards as one, in the order of their keys."""
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


def _spool(piece: Rows, spool: IO[bytes], waiting: Sequence[_Waiting]) -> None:
    """Encode the rows of a piece shard by shard, the fixed texts and ids prepared once for all of them."""
    if not len(piece):
        return
    keys = piece.key_ids.gather(pl.Series(piece.keys))
    homes = np.fromiter((shard_of(key, len(waiting)) for key in keys), np.int64, len(keys))
    order = np.argsort(homes, kind="stable")
    body = _permuted(prepare(piece), order)
    ends = np.cumsum(np.bincount(homes, minlength=len(waiting)))
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


def _joined(head: bytes, spool: IO[bytes], shard: _Waiting) -> BytesIO:
    """Return everything of a shard up to the end of its array."""
    out = BytesIO()
    out.write(head + b"[")
    for place, (start, length) in enumerate(shard.spans):
        out.write(b"," if place else b"")
        spool.seek(start)
        out.write(spool.read(length))
    out.write(b"]")
    return out


def _places(starts: Numbers, lengths: Numbers) -> NDArray[np.int64]:
    """Return the positions of the members of lists that begin at `starts`, list after list."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)


def _recoded(rows: Rows, ids: pl.Series) -> Codes:
    """Return the members as codes of a dictionary that holds all their ids."""
    return ids.search_sorted(rows.member_ids).to_numpy().astype(np.uint32)[rows.members]
