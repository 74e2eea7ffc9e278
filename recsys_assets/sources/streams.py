"""Bytes of one file as a stream: decompressed, hashed as stored, and never whole in memory."""

import hashlib
import os
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from recsys_assets.errors import InputError

_CODECS = {".gz": "gzip", ".zst": "zstd"}


class FileStream:
    """The `RawStream` of a file on disk: plain, `.gz` (also of several members) or `.zst` (also of several frames).

    Truncated and corrupt compressed data, trailing garbage, and a file that changed while it was read are `InputError`s
    that name the file. An empty file is an empty stream whatever its name.
    """

    def __init__(self, path: Path, *, name: str) -> None:
        self._name = name
        try:
            self._stored = _HashingFile(path)
        except OSError as error:
            raise InputError(f"{name} cannot be opened: {error.strerror}; mend it and run the day again") from error
        codec = _CODECS.get(path.suffix)
        # Arrow's stream, because it tells a truncated stream from a finished one; zstandard's reader does not.
        self._bytes: Any = (
            self._stored if codec is None else pa.CompressedInputStream(pa.PythonFile(self._stored, mode="r"), codec)
        )
        self._codec = codec

    @property
    def size(self) -> int:
        """Bytes read from the file so far, as stored."""
        return self._stored.size

    @property
    def sha256(self) -> str:
        """Lower-case hex SHA-256 of the bytes read so far, as stored."""
        return self._stored.sha256

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with decompressed bytes and return how many; 0 at the end of the file."""
        try:
            count = self._bytes.readinto(buffer)
        except (OSError, pa.ArrowException) as error:
            what = f"is no whole {self._codec} file" if self._codec else "cannot be read"
            raise InputError(f"{self._name} {what}: {error}; mend or replace it and run the day again") from error
        if not count and self._stored.changed():
            raise InputError(f"{self._name} changed while it was read; run the day again once it is complete")
        return count or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stored.close()


class _HashingFile:
    """An unbuffered file that hashes what is read from it, and knows whether it changed since it was opened."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path)
        self._hash = hashlib.sha256()
        self._opened = os.fstat(self._file.fileno())
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def readinto(self, buffer: memoryview) -> int:
        count = self._file.readinto(buffer) or 0
        self._hash.update(buffer[:count])
        self.size += count
        return count

    def read(self, limit: int) -> bytes:
        """Return up to `limit` bytes: the form in which Arrow asks."""
        data = bytearray(limit)
        count = self.readinto(memoryview(data))
        return bytes(data[:count])

    def changed(self) -> bool:
        """Whether the file is not, by size and time of change, the one that was opened and read."""
        now = os.fstat(self._file.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.size, self._opened.st_mtime_ns)

    def close(self) -> None:
        self._file.close()
