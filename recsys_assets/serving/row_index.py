"""Rows of one artifact, found by id in constant time and decoded one at a time from the bytes as they are stored."""

import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from recsys_assets.errors import CorruptObjectError

MAX_INDEXED_BYTES = 2**32 - 1  # offsets are kept in four bytes
_PAUSE_BYTES = (
    1 << 14
)  # after so many, or so many rows, the thread lets requests run: a few tenths of a millisecond of work
_PAUSE_ROWS = 0xFF
_PAUSE_SLOTS = 0x1FF
_PAUSE_SECONDS = 50e-6
LOW_HALF = 0xFFFFFFFF

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class RowForm(Generic[Row]):
    """How the rows of a kind are written: `{"key":"...` up to `close`, and what decodes and names one."""

    body: str  # the array's name in the artifact
    key: str  # the first field of each row
    close: bytes  # how a row ends; with a comma and the next row's beginning it separates rows
    decoder: msgspec.json.Decoder[Row]
    id_of: Callable[[Row], str]

    @property
    def opening(self) -> bytes:
        """The bytes with which each row begins."""
        return f'{{"{self.key}":"'.encode()


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
class RowIndex(Generic[Row]):
    """The bytes of an artifact with a hash table of row numbers beside them: 12 to 28 bytes a row, no object per row.

    A Python dictionary of ids would take two to four times the blob where rows are short. `slots` holds row numbers
    plus one (0: free) by the low bits of the id's hash, `marks` the hash's high half, so that nearly no row is decoded
    but the one asked for. `starts` holds the rows' offsets, and the offset after the last row's comma.
    """

    form: RowForm[Row]
    data: bytes
    starts: "array[int]"
    slots: "array[int]"
    marks: "array[int]"

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Row]:
        """Yield every row in the artifact's order."""
        return (self.row(number) for number in range(len(self)))

    @property
    def held_bytes(self) -> int:
        """Bytes that stay in memory: the artifact's own, and the tables beside them."""
        return len(self.data) + sum(len(table) * table.itemsize for table in (self.starts, self.slots, self.marks))

    def row(self, number: int) -> Row:
        """Return the row at a position."""
        return self.form.decoder.decode(memoryview(self.data)[self.starts[number] : self.starts[number + 1] - 1])

    def id(self, number: int) -> str:
        """Return the id of the row at a position."""
        return self.form.id_of(self.row(number))

    def size(self, start: int, stop: int) -> int:
        """Return how many bytes the rows from one position up to another take, with the commas behind them."""
        return self.starts[stop] - self.starts[start]

    def array(self, start: int, stop: int) -> bytes:
        """Return the rows from one position up to another as a JSON array: the bytes as they are stored."""
        return b"[%b]" % self.data[self.starts[start] : self.starts[stop] - 1]

    def find(self, key: str) -> Row | None:
        """Return the first row of an id, or None if there is none: one decode, however many rows there are."""
        mask = len(self.slots) - 1
        hashed = hash(key)
        slot, mark = hashed & mask, (hashed >> 32) & LOW_HALF
        while number := self.slots[slot]:
            if self.marks[slot] == mark:
                row = self.row(number - 1)
                if self.form.id_of(row) == key:
                    return row
            slot = (slot + 1) & mask
        return None


def index_rows(form: RowForm[Row], data: bytes, *, start: int, stop: int, name: str) -> RowIndex[Row]:
    """Return an index over the rows that stand in `data[start:stop]`, each of them decoded once and found well formed.

    Inside a JSON string a quote never stands bare, so the bytes between two rows (`]},{"item_id":"`) cannot stand in
    an id. Raises `CorruptObjectError` naming the first row that is not of the form, with its offset.
    """
    if stop > MAX_INDEXED_BYTES:
        raise CorruptObjectError(f"{name} has {len(data)} bytes: at most {MAX_INDEXED_BYTES} can be looked up in")
    starts, hashes = array("I"), array("q")
    paused = start
    for at, end in _spans(form, data, start, stop):
        starts.append(at)
        hashes.append(hash(_id_at(form, data, at, end, name)))
        if end - paused > _PAUSE_BYTES or len(starts) & _PAUSE_ROWS == 0:
            paused = end
            time.sleep(_PAUSE_SECONDS)  # no wait for anything: it hands the interpreter to the threads that serve
    starts.append(stop + 1)
    return _with_table(form, data, starts, hashes)


def _spans(form: RowForm[Row], data: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each row."""
    between = form.close + b"," + form.opening
    at = start
    while at < stop:
        found = data.find(between, at, stop)
        end = stop if found < 0 else found + len(form.close)
        yield at, end
        at = end + 1


def _id_at(form: RowForm[Row], data: bytes, at: int, end: int, name: str) -> str:
    try:
        return form.id_of(form.decoder.decode(memoryview(data)[at:end]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptObjectError(
            f"{name}: the row at byte {at} is no row of {form.body!r} by {form.key}: {error}: {data[at : at + 80]!r}; "
            "build it again"
        ) from error


def _with_table(form: RowForm[Row], data: bytes, starts: "array[int]", hashes: "array[int]") -> RowIndex[Row]:
    """Fill the table, which is never more than two thirds full; of several rows with one id the first is found."""
    size = 1 << (len(hashes) + len(hashes) // 2).bit_length()
    slots, marks = array("I", bytes(4 * size)), array("I", bytes(4 * size))
    index = RowIndex(form, data, starts, slots, marks)
    mask = size - 1
    for number, hashed in enumerate(hashes):
        slot, mark = hashed & mask, (hashed >> 32) & LOW_HALF
        while slots[slot]:
            if marks[slot] == mark and _same_id(index, slots[slot] - 1, number):
                break
            slot = (slot + 1) & mask
        else:
            slots[slot], marks[slot] = number + 1, mark
        if number & _PAUSE_SLOTS == _PAUSE_SLOTS:
            time.sleep(_PAUSE_SECONDS)
    return index


def _same_id(index: RowIndex[Row], one: int, other: int) -> bool:
    id_of = index.form.id_of
    return id_of(index.row(one)) == id_of(index.row(other))
