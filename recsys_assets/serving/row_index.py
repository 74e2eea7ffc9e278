"""Index over the rows of one artifact: rows are found by id and decoded one at a time from the stored bytes."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from array import array

MAX_INDEXED_BYTES: Final = 2**32 - 1  # offsets are kept in four bytes
_PAUSE_SECONDS: Final = 50e-6

Row = TypeVar("Row")


class RowForm(msgspec.Struct, Generic[Row], frozen=True):
    """Layout of the rows of a kind: `{"key":"...` up to `close`, with the decoders of a row and its id."""

    body: str  # the array's name in the artifact
    key: str  # the first field of each row
    close: bytes  # The end of a row. Followed by a comma and the start of the next row, it separates rows.
    decoder: msgspec.json.Decoder[Row]
    list_decoder: msgspec.json.Decoder[list[Row]]
    id_of: Callable[[Row], str]

    @property
    def opening(self) -> bytes:
        """The first bytes of each row."""
        return f'{{"{self.key}":"'.encode()

    @property
    def between(self) -> bytes:
        """The end of a row, a comma, and the start of the next row.

        Quotes inside a JSON string are escaped, so these bytes (`]},{"item_id":"`) cannot occur in an id.
        """
        return self.close + b"," + self.opening


class Lookup(Protocol[Row]):
    """Rows that are found by id, in one object or in shards."""

    @property
    def form(self) -> RowForm[Row]:
        """Layout of a row."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes of the rows in memory."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __iter__(self) -> Iterator[Row]:
        """Yield every row."""
        ...

    def row(self, number: int) -> Row:
        """Return the row at a position."""
        ...

    def find(self, key: str) -> Row | None:
        """Return the first row of an id, or None if there is none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RowIndex(ABC, Generic[Row]):
    """The bytes of an artifact and tables that find rows in them, without an object per row.

    `starts` holds the offset of each row, and the offset after the comma of the last row.
    """

    form: RowForm[Row]
    data: bytes | mmap
    starts: "array[int] | memoryview"

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Row]:
        """Yield every row in the artifact's order."""
        return (self.row(number) for number in range(len(self)))

    @property
    def held_bytes(self) -> int:
        """Bytes in memory: those of the artifact and of the tables."""
        return len(self.data) + len(self.starts) * self.starts.itemsize + self._finder_bytes

    def row(self, number: int) -> Row:
        """Return the row at a position."""
        return self.form.decoder.decode(self.data[self.starts[number] : self.starts[number + 1] - 1])

    def id(self, number: int) -> str:
        """Return the id of the row at a position."""
        return self.form.id_of(self.row(number))

    def size(self, start: int, stop: int) -> int:
        """Return the number of bytes of the rows from `start` up to `stop`, with the comma after each."""
        return self.starts[stop] - self.starts[start]

    def array(self, start: int, stop: int) -> bytes:
        """Return the rows from `start` up to `stop` as a JSON array of the stored bytes."""
        return b"[%b]" % self.data[self.starts[start] : self.starts[stop] - 1]

    @abstractmethod
    def find(self, key: str) -> Row | None:
        """Return the first row of an id, or None if there is none."""

    @property
    @abstractmethod
    def _finder_bytes(self) -> int:
        """Bytes of the tables that find the number of a row by its id."""


def let_others_run() -> None:
    """Yield the interpreter to other threads, if there are any. This does not wait for a condition.

    A thread that releases the interpreter's lock and requests it at once gets it back: only a sleep lets others run.
    """
    if threading.active_count() > 1:
        time.sleep(_PAUSE_SECONDS)
