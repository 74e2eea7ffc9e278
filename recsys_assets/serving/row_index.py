"""Rows of one artifact beside the bytes that hold them: found by id, and decoded one at a time as they are stored."""

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


@dataclass(frozen=True, slots=True)
class RowForm(Generic[Row]):
    """How the rows of a kind are written: `{"key":"...` up to `close`, and what decodes and names one."""

    body: str  # the array's name in the artifact
    key: str  # the first field of each row
    close: bytes  # how a row ends; with a comma and the next row's beginning it separates rows
    decoder: msgspec.json.Decoder[Row]
    list_decoder: msgspec.json.Decoder[list[Row]]
    id_of: Callable[[Row], str]

    @property
    def opening(self) -> bytes:
        """The bytes with which each row begins."""
        return f'{{"{self.key}":"'.encode()

    @property
    def between(self) -> bytes:
        """The end of a row, a comma, and the next row's beginning.

        Inside a JSON string a quote never stands bare, so these bytes (`]},{"item_id":"`) cannot stand in an id.
        """
        return self.close + b"," + self.opening


class Lookup(Protocol[Row]):
    """Rows that are found by id, wherever they lie: in one object, or in shards."""

    @property
    def form(self) -> RowForm[Row]:
        """How a row is written."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes that they take in memory."""
        ...

    def __len__(self) -> int:
        """Return how many rows there are."""
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
    """The bytes of an artifact, and what finds rows in them: no object per row.

    `starts` holds the rows' offsets, and the offset after the last row's comma.
    """

    form: RowForm[Row]
    data: bytes | mmap
    starts: "array[int] | memoryview"

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Row]:
        """Yield every row in the artifact's order."""
        return (self.row(number) for number in range(len(self)))

    @property
    def held_bytes(self) -> int:
        """Bytes that stay in memory: the artifact's own, and the tables beside them."""
        return len(self.data) + len(self.starts) * self.starts.itemsize + self._finder_bytes

    def row(self, number: int) -> Row:
        """Return the row at a position."""
        return self.form.decoder.decode(self.data[self.starts[number] : self.starts[number + 1] - 1])

    def id(self, number: int) -> str:
        """Return the id of the row at a position."""
        return self.form.id_of(self.row(number))

    def size(self, start: int, stop: int) -> int:
        """Return how many bytes the rows from one position up to another take, with the commas behind them."""
        return self.starts[stop] - self.starts[start]

    def array(self, start: int, stop: int) -> bytes:
        """Return the rows from one position up to another as a JSON array: the bytes as they are stored."""
        return b"[%b]" % self.data[self.starts[start] : self.starts[stop] - 1]

    @abstractmethod
    def find(self, key: str) -> Row | None:
        """Return the first row of an id, or None if there is none."""

    @property
    @abstractmethod
    def _finder_bytes(self) -> int:
        """Bytes of what finds a row's number by its id."""


def let_others_run() -> None:
    """Hand the interpreter to the threads that serve, if there are other threads; it is no wait for anything.

    The thread that holds the interpreter's lock and asks for it again at once gets it again: only sleep lets others in.
    """
    if threading.active_count() > 1:
        time.sleep(_PAUSE_SECONDS)
