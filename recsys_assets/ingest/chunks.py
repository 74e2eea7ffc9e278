"""Chunks of whole lines from a stream of bytes, in the memory of one chunk whatever the length of stream and lines."""

from collections.abc import Callable, Iterator
from mmap import mmap
from typing import TypeAlias

import msgspec

from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.quarantine import MAX_TEXT_BYTES
from recsys_assets.ingest.sources.source import RawStream

# More than the longest allowed line, so that a chunk without a newline is always part of a line that is too long.
CHUNK_BYTES = MAX_LINE_BYTES + 2**20
Buffer: TypeAlias = bytearray | mmap


class Chunk(msgspec.Struct, frozen=True):
    """Whole lines: `buffer[:size]`, which ends with a newline."""

    buffer: Buffer
    size: int


class LongLine(msgspec.Struct, frozen=True):
    """A line too long for a chunk: its first bytes and its size in bytes."""

    head: bytes
    size: int


def read_chunks(
    stream: RawStream,
    *,
    take: Callable[[], Buffer],
    give_back: Callable[[Buffer], object],
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[Chunk | LongLine]:
    """Yield the lines of `stream` in order. A missing last newline is added, nothing else is changed.

    `take` returns buffers of more than `chunk_bytes` bytes. A buffer belongs to the chunk that is yielded with it. A
    buffer that was taken and not yielded, because the stream ended or failed, is passed to `give_back`.
    """
    rest, ended = b"", False
    buffer: Buffer | None = None
    try:
        while not ended:
            buffer = take() if buffer is None else buffer
            size, ended = _fill(stream, buffer, rest, limit=chunk_bytes)
            cut = buffer.rfind(b"\n", 0, size) + 1
            if ended and cut < size:
                buffer[size] = ord("\n")
                size = cut = size + 1
            if cut == 0 < size:
                head, size, rest, ended = _skip_line(stream, buffer, size)
                yield LongLine(head, size)
            elif cut:
                rest = bytes(buffer[cut:size])
                chunk, buffer = Chunk(buffer, cut), None
                yield chunk
    finally:
        if buffer is not None:
            give_back(buffer)


def _fill(stream: RawStream, buffer: Buffer, rest: bytes, *, limit: int) -> tuple[int, bool]:
    """Fill `buffer` with the rest of the previous chunk and more of the stream.

    Return the number of bytes, and True if the stream has ended.
    """
    size = len(rest)
    buffer[:size] = rest
    with memoryview(buffer) as view:
        while size < limit:
            count = stream.readinto(view[size:limit])
            if not count:
                return size, True
            size += count
    return size, False


def _skip_line(stream: RawStream, buffer: Buffer, size: int) -> tuple[bytes, int, bytes, bool]:
    """Read to the end of a line that begins in `buffer`.

    Return its first bytes, its size, the bytes read after it, and True if the stream has ended.
    """
    head = bytes(buffer[: min(size, MAX_TEXT_BYTES)])
    with memoryview(buffer) as view:
        while count := stream.readinto(view):
            end = buffer.find(b"\n", 0, count)
            if end >= 0:
                return head, size + end, bytes(view[end + 1 : count]), False
            size += count
    return head, size, b"", True
