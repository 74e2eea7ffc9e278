"""Raw inputs in memory, in place of files."""

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from recsys_assets.errors import InputError
from recsys_assets.identity import Target


@dataclass(frozen=True, slots=True)
class MemoryInput:
    """Lines of a day under a name; `breaks_at`, if given, is how many bytes can be read before reading fails."""

    name: str
    data: bytes
    targets: tuple[Target, ...]
    breaks_at: int | None = None

    def open(self) -> "MemoryStream":
        """Return the bytes as a stream."""
        return MemoryStream(self)


class MemoryStream:
    """The `RawStream` of a `MemoryInput`."""

    def __init__(self, source: MemoryInput) -> None:
        self._source = source
        self.size = 0

    @property
    def digest(self) -> str:
        """Lower-case hex SHA-256 of the bytes read so far."""
        return hashlib.sha256(self._source.data[: self.size]).hexdigest()

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end."""
        if self._source.breaks_at is not None and self.size >= self._source.breaks_at:
            raise InputError(f"{self._source.name} breaks off after {self.size} bytes; replace it")
        piece = self._source.data[self.size : self._source.breaks_at][: len(buffer)]
        buffer[: len(piece)] = piece
        self.size += len(piece)
        return len(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of nothing."""
