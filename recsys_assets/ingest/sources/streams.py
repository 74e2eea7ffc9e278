"""Stored bytes as a stream of bounded memory, decompressed by the ending of the name."""

import hashlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from recsys_assets.errors import InputError


class Pieces:
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


_CODECS = {".gz": "gzip", ".zst": "zstd"}


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
    """The `RawStream` of stored bytes: plain, `.gz` (also of several members) or `.zst` (also of several frames).

    Truncated and corrupt compressed data, trailing garbage, and bytes that changed while they were read are
    `InputError`s that name the input. No bytes are an empty stream whatever the name.
    """

    def __init__(self, stored: StoredBytes, *, name: str) -> None:
        import pyarrow as pa  # noqa: PLC0415 - `status` finds inputs, opens none, and must not wait for Arrow

        self._name = name
        self._faults = (OSError, pa.ArrowException)
        self._stored = stored
        self._codec = _CODECS.get(os.path.splitext(name)[1])  # noqa: PTH122 - names of objects are no paths
        # Arrow's stream, because it distinguishes a truncated stream from a finished one; zstandard's reader does not.
        self._bytes: Any = (
            stored
            if self._codec is None
            else pa.CompressedInputStream(pa.PythonFile(_Asked(stored), mode="r"), self._codec)
        )

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
            count = self._bytes.readinto(buffer)
        except self._faults as error:
            what = f"is no whole {self._codec} file" if self._codec else "cannot be read"
            raise InputError(f"{self._name} {what}: {error}; repair or replace it and run the day again") from error
        if not count and self._stored.changed():
            raise InputError(f"{self._name} changed while it was read; run the day again once it is complete")
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


class _Asked:
    """Stored bytes in the form in which Arrow asks for them."""

    def __init__(self, stored: StoredBytes) -> None:
        self._stored = stored

    @property
    def closed(self) -> bool:
        return self._stored.closed

    def read(self, limit: int) -> bytes:
        data = bytearray(limit)
        count = self._stored.readinto(memoryview(data))
        return bytes(data[:count])

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
