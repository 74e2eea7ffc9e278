"""Streams of stored bytes in bounded memory, decompressed according to their first bytes."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from recsys_assets.errors import InputError, LimitExceededError, MissingInputError
from recsys_assets.ingest.sources.forms import HEAD_BYTES, XzPieces, check_text, codec_of

_MAX_RATIO = 1000  # Above the compression ratio of any real text. Also the maximum of gzip.
_FREE_BYTES = 64_000_000
# Remedies for files that are complete but unsupported, by a part of the library's error message.
_REMEDIES = {
    "requires too much memory": "its window is larger than 128 MB: compress it again without --long or --ultra,",
    "Dictionary mismatch": "it was compressed with a dictionary, which is not supported: compress it again without one",
}


class PieceStream:
    """Stream over pieces of bytes. The next piece is read when the one before is used up.

    As a context manager it closes a generator of pieces at its end.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return the number of bytes, 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._pieces, Generator):
            self._pieces.close()


class UnpackLimit:
    """Limit of the unpacked size of a file, which refuses one that unpacks to an implausible multiple of its size."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._size = 0

    def add(self, count: int, *, stored: int) -> None:
        """Add `count` bytes, unpacked from `stored` bytes so far. Raises `LimitExceededError` naming the file."""
        self._size += count
        if self._size > max(_FREE_BYTES, _MAX_RATIO * stored):
            raise LimitExceededError(
                f"{self._name} unpacks from {stored:,} bytes to over {self._size:,}: at most {_MAX_RATIO:,} times its "
                f"size, or {_FREE_BYTES:,} bytes, is read; replace the file"
            )


class StoredBytes(Protocol):
    """The bytes of one file or object as they are stored, read from the beginning to the end."""

    size: int

    @property
    def digest(self) -> str:
        """Identity of these bytes."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer` and return the number of bytes, 0 at the end."""
        ...

    def changed(self) -> bool:
        """Return whether the stored bytes differ from those that were read."""
        ...

    def close(self) -> None:
        """Close the file or the connection."""
        ...


class DecodedStream:
    """The `RawStream` of stored bytes: plain, gzip, zstd, bz2 or xz (each also of several members), whatever the name.

    The first bytes decide the format (`forms`). The name counts only where they do not. `readinto` raises `InputError`
    naming the input and the format for zip archives, Parquet, UTF-16 and other formats without lines. It also raises it
    for truncated and corrupt compressed data, trailing garbage, and bytes that changed while they were read. An input
    without bytes is an empty stream.
    """

    def __init__(self, stored: StoredBytes, *, name: str) -> None:
        self._name = name
        self._stored = stored
        self._codec: str | None = None
        self._bytes: Any = None  # opened by the first read, because the format is recognised from the bytes
        self._faults: tuple[type[Exception], ...] = (OSError,)
        self._unpacked = UnpackLimit(name)
        self._head = b""  # decompressed bytes that were examined and not returned yet

    def _open(self) -> Any:
        """Recognise the format and return the decompressed stream. Raises `InputError` for a refused format."""
        import pyarrow as pa  # noqa: PLC0415 - `status` finds inputs without opening them, and must not wait for Arrow

        self._faults = (OSError, pa.ArrowException)
        rest = _ArrowFile(self._stored)
        rest.head = _read_some(rest.read, HEAD_BYTES)
        self._codec = codec_of(rest.head, name=self._name)
        # Arrow's stream distinguishes a truncated stream from a finished one, and zstandard's reader does not.
        if self._codec is None:
            self._bytes = rest
        elif self._codec == "xz":
            self._bytes = PieceStream(iter(XzPieces(rest)))
        else:
            self._bytes = pa.CompressedInputStream(pa.PythonFile(rest, mode="r"), self._codec)
        self._head = _read_head(self._bytes)
        check_text(self._head, name=self._name)
        return self._bytes

    @property
    def size(self) -> int:
        """Bytes read so far, as stored."""
        return self._stored.size

    @property
    def digest(self) -> str:
        """Identity of the bytes read, as stored."""
        return self._stored.digest

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with decompressed bytes and return their number, 0 at the end.

        Raises `InputError` as described at the class.
        """
        try:
            stream = self._bytes or self._open()
            if self._head:
                count = min(len(buffer), len(self._head))
                buffer[:count], self._head = self._head[:count], self._head[count:]
                return count
            count = stream.readinto(buffer)
        except self._faults as error:
            fault = f"is not a complete {self._codec} file" if self._codec else "cannot be read"
            remedy = next((cure for part, cure in _REMEDIES.items() if part in str(error)), "repair or replace it")
            raise InputError(f"{self._name} {fault}: {error}; {remedy} and run the day again") from error
        if not count and self._stored.changed():
            raise InputError(f"{self._name} changed while it was read; run the day again once it is complete")
        if self._codec:
            self._unpacked.add(count, stored=self.size)
        return count or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stored.close()


class FileStream(DecodedStream):
    """The `DecodedStream` of a file on disk. Raises `InputError` naming it if it cannot be opened."""

    def __init__(self, path: Path, *, name: str) -> None:
        try:
            stored = _HashingFile(path)
        except FileNotFoundError as error:
            raise MissingInputError(f"{name} is missing: put it there, or configure another path") from error
        except OSError as error:
            raise InputError(
                f"{name} cannot be opened: {error.strerror}; give the right to read it and run again"
            ) from error
        super().__init__(stored, name=name)


class SeekableFile(FileIO):
    """A file on disk with random access, whose hash and size are known from the beginning.

    Raises `InputError` naming it if it cannot be opened.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        try:
            super().__init__(path)
        except OSError as error:
            raise InputError(
                f"{name} cannot be opened: {error.strerror}; give the right to read it and run again"
            ) from error
        self._opened = os.fstat(self.fileno())
        self.size = self._opened.st_size
        self.digest = hashlib.file_digest(self, "sha256").hexdigest()
        self.seek(0)

    def changed(self) -> bool:
        """Return whether size or time of change differ from the file that was hashed."""
        now = os.fstat(self.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.size, self._opened.st_mtime_ns)


def _read_head(stream: Any) -> bytes:
    """Return the first decompressed bytes, at most `HEAD_BYTES`."""
    data = bytearray(HEAD_BYTES)
    done = 0
    while done < len(data) and (count := stream.readinto(memoryview(data)[done:])):
        done += count
    return bytes(data[:done])


def _read_some(read: Callable[[int], bytes], size: int) -> bytes:
    """Return `size` bytes, or fewer at the end."""
    data = b""
    while len(data) < size and (piece := read(size - len(data))):
        data += piece
    return data


class _ArrowFile:
    """Adapter of stored bytes to the file interface of Arrow. `head` was read before and is returned first."""

    def __init__(self, stored: StoredBytes) -> None:
        self._stored = stored
        self.head = b""

    @property
    def closed(self) -> bool:
        return self._stored.closed

    def read(self, limit: int) -> bytes:
        if self.head:
            head, self.head = self.head[:limit], self.head[limit:]
            return head
        data = bytearray(limit)
        count = self._stored.readinto(memoryview(data))
        return bytes(data[:count])

    def readinto(self, buffer: memoryview) -> int:
        if self.head:
            count = min(len(buffer), len(self.head))
            buffer[:count], self.head = self.head[:count], self.head[count:]
            return count
        return self._stored.readinto(buffer)

    def close(self) -> None:
        self._stored.close()


class _HashingFile:
    """An unbuffered file that hashes the bytes read, and detects a change since it was opened."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path)
        self._hash = hashlib.sha256()
        self._opened = os.fstat(self._file.fileno())
        self.size = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def readinto(self, buffer: memoryview) -> int:
        count = self._file.readinto(buffer) or 0
        self._hash.update(buffer[:count])
        self.size += count
        return count

    def changed(self) -> bool:
        """Return whether size or time of change differ from the file that was opened and read."""
        now = os.fstat(self._file.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.size, self._opened.st_mtime_ns)

    def close(self) -> None:
        self._file.close()
