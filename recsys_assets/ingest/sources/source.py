"""Interfaces of raw inputs and their streams, for every source. Also the input that was found and cannot be read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import NoReturn, Protocol, Self, runtime_checkable

import msgspec

from recsys_assets.errors import InputError
from recsys_assets.identity import Target


class RawStream(Protocol):
    """Decompressed bytes, read once, from the beginning to the end.

    `size` and `digest` describe the input as stored (perhaps compressed). They are final once `readinto` returned 0.
    """

    @property
    def size(self) -> int:
        """Bytes read from the input so far, as stored."""
        ...

    @property
    def digest(self) -> str:
        """Identity of the content: hex SHA-256 of a file's bytes, or the mark that its store keeps."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return the number of bytes, 0 at the end.

        Raises `InputError` naming the input if it is truncated, corrupt, unreadable, or changed while it was read.
        Raises `StoreUnavailableError` if its store no longer answers.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class RawInput(Protocol):
    """One file, object or query result that holds raw events of a day."""

    @property
    def name(self) -> str:
        """Name of the input in messages, in quarantine and in lineage."""
        ...

    @property
    def targets(self) -> Sequence[Target]:
        """The targets that it serves. Its events of all other targets are foreign."""
        ...

    def open(self) -> RawStream:
        """Return a fresh stream. Raises `InputError` naming the input if it cannot be opened."""
        ...


class FoundInput(RawInput, Protocol):
    """A raw input that a source has found, with marks that show whether it changed since it was read."""

    def digest(self) -> str:
        """Return the value that `RawStream.digest` has at the end. A source reads no more than that requires."""
        ...

    def appearance(self) -> str:
        """Return a text that changes whenever the content may have changed, at the least cost for the source."""
        ...

    def touched_at(self) -> datetime:
        """Return the time of the input's last change, by the clock of its store."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """An input of a versioned table."""

    @property
    def version(self) -> str:
        """The version that is read, as the table's format names it."""
        ...


class BrokenInput(msgspec.Struct, frozen=True):
    """A file, folder or link that cannot be read. `message` names it, the fault and the next step."""

    name: str
    targets: tuple[Target, ...]
    message: str

    def open(self) -> NoReturn:
        """Raise `InputError` with the message."""
        raise InputError(self.message)

    def open_seekable(self) -> NoReturn:
        """Raise `InputError` with the message."""
        raise InputError(self.message)

    def digest(self) -> str:
        """Return an empty text, which differs from the digest of everything that was read before."""
        return ""

    def appearance(self) -> str:
        """Return name and message."""
        return f"{self.name} {self.message}"

    def touched_at(self) -> datetime:
        """Return the epoch, because waiting does not repair the input."""
        return datetime.fromtimestamp(0, tz=UTC)
