"""What ingest asks of a raw input, wherever it lives: a name, the targets it was named for, and one stream of bytes."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from recsys_assets.identity import Target


class RawStream(Protocol):
    """Decompressed bytes, read once, from the beginning to the end.

    `size` and `sha256` describe the bytes as stored (perhaps compressed), and are known once `readinto` returned 0.
    """

    @property
    def size(self) -> int:
        """Bytes read from the input so far, as stored."""
        ...

    @property
    def sha256(self) -> str:
        """Lower-case hex SHA-256 of the bytes read so far, as stored."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end.

        Raises `InputError` naming the input if it is truncated, corrupt, unreadable, or changed while it was read.
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
