"""Stored bytes as a stream of bounded memory, decompressed by the form that they begin with."""

import hashlib
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from recsys_assets.errors import InputError, LimitExceededError, MissingInputError
from recsys_assets.ingest.sources.forms import HEAD_BYTES, XzPieces, check_text, codec_of

_MAX_RATIO = 1000  # more than any text with content compresses to; gzip reaches no more
_FREE_BYTES = 64_000_000
# What is whole, and not read: by the words of the library that says so.
_REMEDIES = {
    "requires too much memory": "its window is larger than 128 MB: compress it again without --long or --ultra,",
    "Dictionary mismatch": "it was compressed with a dictionary, which is not read: compress it again without",
}


class PieceStream:
    """Pieces one behind the other, each asked for when the one before is used up."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class Unpacked:
    """The count of what a file was unpacked to, which refuses one that unpacks to so much that no data does."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._size = 0

    def add(self, count: int, *, stored: int) -> None:
        """Count bytes that came of `stored` bytes; raises `LimitExceededError` naming the file."""
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
        """The identity of these bytes."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end."""
        ...

    def changed(self) -> bool:
        """Whether what is stored is not, or not any more, what was read."""
        ...

    def close(self) -> None:
        """Let go of the file or the connection."""
        ...


class DecodedStream:
    """The `RawStream` of stored bytes: plain, gzip, zstd, bz2 or xz (each also of several members), whatever the name.

    What the bytes begin with decides (`forms`); a name counts only where they do not say. Zip archives, Parquet, UTF-16
    and other forms without lines are `InputError`s that name the input and the form, and so are truncated and corrupt
    compressed data, trailing garbage, and bytes that changed while they were read. No bytes are an empty stream.
    """

    def __init__(self, stored: StoredBytes, *, name: str) -> None:
        self._name = name
        self._stored = stored
        self._codec: str | None = None
        self._bytes: Any = None  # opened when it is first read, for its form is read from the bytes
        self._faults: tuple[type[Exception], ...] = (OSError,)
        self._unpacked = Unpacked(name)
        self._head = b""  # decompressed bytes that were looked at and not handed out yet

    def _open(self) -> Any:
        """Recognise the form and return the decompressed stream; raises `InputError` for one that is refused."""
        import pyarrow as pa  # noqa: PLC0415 - `status` finds inputs, opens none, and must not wait for Arrow

        self._faults = (OSError, pa.ArrowException)
        rest = _ArrowFile(self._stored)
        rest.head = _read_some(rest.read, HEAD_BYTES)
        self._codec = codec_of(rest.head, name=self._name)
        # Arrow's stream, because it distinguishes a truncated stream from a finished one; zstandard's reader does not.
        if self._codec is None:
            self._bytes = rest
        elif self._codec == "xz":
            self._bytes = PieceStream(iter(XzPieces(rest)))
        else:
            self._bytes = pa.CompressedInputStream(pa.PythonFile(rest, mode="r"), self._codec)
        self._head = _first_of(self._bytes)
        check_text(self._head, name=self._name)
        return self._bytes

    @property
    def size(self) -> int:
        """Bytes read so far, as stored."""
        return self._stored.size

    @property
    def digest(self) -> str:
        """The identity of the bytes read, as stored."""
        return self._stored.digest

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with decompressed bytes and return how many; 0 at the end."""
        try:
            stream = self._bytes or self._open()
            if self._head:
                count = min(len(buffer), len(self._head))
                buffer[:count], self._head = self._head[:count], self._head[count:]
                return count
            count = stream.readinto(buffer)
        except self._faults as error:
            what = f"is no whole {self._codec} file" if self._codec else "cannot be read"
            remedy = next((cure for sign, cure in _REMEDIES.items() if sign in str(error)), "repair or replace it")
            raise InputError(f"{self._name} {what}: {error}; {remedy} and run the day again") from error
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
    """The `DecodedStream` of a file on disk; raises `InputError` naming it if it cannot be opened."""

    def __init__(self, path: Path, *, name: str) -> None:
        try:
            stored = _HashingFile(path)
        except FileNotFoundError as error:
            raise MissingInputError(f"{name} is not there: put it there, or name another place") from error
        except OSError as error:
            raise InputError(
                f"{name} cannot be opened: {error.strerror}; give the right to read it and run again"
            ) from error
        super().__init__(stored, name=name)


class SeekableFile(FileIO):
    """A file on disk that is read here and there, and knows its hash and size from the beginning.

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
        """Whether the file is not, by size and time of change, the one that was hashed."""
        now = os.fstat(self.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.size, self._opened.st_mtime_ns)


def _first_of(stream: Any) -> bytes:
    """Return the first decompressed bytes."""
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
    """Stored bytes in the form in which Arrow asks for them, behind a `head` that was read before."""

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
    """An unbuffered file that hashes what is read from it, and knows whether it changed since it was opened."""

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
        """Whether the file is not, by size and time of change, the one that was opened and read."""
        now = os.fstat(self._file.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.size, self._opened.st_mtime_ns)

    def close(self) -> None:
        self._file.close()
