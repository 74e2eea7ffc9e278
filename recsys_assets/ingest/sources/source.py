"""Interface of a raw input, wherever it is stored, and the inputs that were found and cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import NoReturn, Protocol, Self, runtime_checkable

from recsys_assets.errors import InputError
from recsys_assets.identity import Target


class RawStream(Protocol):
    """Decompressed bytes, read once, from the beginning to the end.

    `size` and `digest` describe the input as stored (perhaps compressed), and are known once `readinto` returned 0.
    """

    @property
    def size(self) -> int:
        """Bytes read from the input so far, as stored."""
        ...

    @property
    def digest(self) -> str:
        """The identity of this content: hex SHA-256 of a file's bytes, or the mark that its store keeps."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end.

        Raises `InputError` naming the input if it is truncated, corrupt, unreadable, or changed while it was read;
        `StoreUnavailableError` if what holds it does not answer any more.
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
        """What people call it; stands in quarantine and in records of lineage."""
        ...

    @property
    def targets(self) -> Sequence[Target]:
        """The targets that it was named for; events of all others in it are foreign."""
        ...

    def open(self) -> RawStream:
        """Return a fresh stream; raises `InputError` naming the input if it cannot be opened."""
        ...


class FoundInput(RawInput, Protocol):
    """A raw input that a source has found, with marks that show whether it is the one that was read before."""

    def digest(self) -> str:
        """Return what `RawStream.digest` is once all is read; a source reads no more for it than it must."""
        ...

    def appearance(self) -> str:
        """Return what changes whenever the content may have changed, at the least cost that the source knows."""
        ...

    def touched_at(self) -> datetime:
        """Return when the input last changed, by the clock of what holds it."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """An input of a table that keeps versions."""

    @property
    def version(self) -> str:
        """The version that is read, as its format counts them."""
        ...


@dataclass(frozen=True, slots=True)
class BrokenInput:
    """A file, folder or link that cannot be read; `message` names it, what was found and the next step."""

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
        """Return nothing: what cannot be read equals nothing that was read before."""
        return ""

    def appearance(self) -> str:
        """Return name and message."""
        return f"{self.name} {self.message}"

    def touched_at(self) -> datetime:
        """Return the epoch: waiting does not change it."""
        return datetime.fromtimestamp(0, tz=UTC)
