"""Index over the rows of one artifact: rows are found by id and decoded one at a time from the stored bytes.

Rows in the order of their ids are found by binary search, with 6 bytes per row, others by a hash table of row numbers.
"""

import sys
import threading
import time
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from mmap import mmap
from operator import lt
from typing import Final, Generic, Protocol, TypeVar
from zlib import crc32

import msgspec

from recsys_assets.errors import CorruptObjectError

MAX_INDEXED_BYTES: Final = 2**32 - 1  # offsets are kept in four bytes
_PAUSE_SECONDS: Final = 50e-6

Row = TypeVar("Row")
GROUP: Final = 64  # Rows. Smaller groups need more memory for ids, and in larger ones more rows share a mark.
_PIECE_BYTES: Final = 1 << 13  # bytes after which the thread yields to requests: a tenth of a millisecond of work
_LOW_BYTE: Final = slice(0, None, 4) if sys.byteorder == "little" else slice(3, None, 4)
# Amounts of work after which the thread yields to requests: a few tenths of a millisecond.
_PAUSE_BYTES: Final = 1 << 14
_PAUSE_ROWS: Final = 0xFF
_PAUSE_SLOTS: Final = 0x1FF
_LOW_HALF: Final = 0xFFFFFFFF


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


@dataclass(frozen=True, slots=True, eq=False)
class SortedRows(RowIndex[Row]):
    """Rows in the order of their ids, without duplicates.

    `heads` are the ids of every `GROUP`-th row: a binary search in them finds the group. `marks` holds one byte of the
    CRC of each id, so that within a group almost only the requested row is decoded. `id_offset` is the offset of the id
    in its row, or None if some id contains escapes.
    """

    heads: Sequence[str]
    marks: bytes
    id_offset: int | None

    @property
    def _finder_bytes(self) -> int:
        return len(self.marks) + sys.getsizeof(self.heads) + sum(map(sys.getsizeof, self.heads))

    def find(self, key: str) -> Row | None:
        """Return the row of an id, or None if there is none. Nearly always decodes one row, whatever their number."""
        stop = GROUP * bisect_right(self.heads, key)
        try:
            written = key.encode()
        except UnicodeEncodeError:
            return None  # half a surrogate pair, which no artifact can contain
        marks, mark = self.marks, crc32(written) & 0xFF
        number = marks.find(mark, max(stop - GROUP, 0), stop)
        while number >= 0:
            text = self.data[self.starts[number] : self.starts[number + 1] - 1]
            if self.id_offset is None or text.startswith(written, self.id_offset):
                row = self.form.decoder.decode(text)
                if self.form.id_of(row) == key:
                    return row
            number = marks.find(mark, number + 1, stop)
        return None


def index_rows(form: RowForm[Row], data: bytes | mmap, *, start: int, stop: int, name: str) -> RowIndex[Row]:
    """Return an index over the rows in `data[start:stop]`, each decoded once and checked.

    Raises `CorruptObjectError` with the offset of the first row that does not have the layout.
    """
    if stop > MAX_INDEXED_BYTES:
        raise CorruptObjectError(f"{name} has {len(data)} bytes, expected at most {MAX_INDEXED_BYTES} for lookups")
    return _sorted_rows(form, data, start, stop) or hash_rows(form, data, start=start, stop=stop, name=name)


def _sorted_rows(form: RowForm[Row], data: bytes | mmap, start: int, stop: int) -> SortedRows[Row] | None:
    """Return the rows if they are well formed and in order, else None. The caller then checks each row by itself.

    Each call handles many rows, because handling single rows in Python takes ten times as long.
    """
    starts, marks, heads, last = array("I"), bytearray(), list[str](), ""
    id_offset = len(form.opening) if data[start : start + len(form.opening)] == form.opening else None
    for at, piece in _pieces(form, data, start, stop):
        places = _places(form, piece, at)
        try:
            ids = [*map(form.id_of, form.list_decoder.decode(b"[%b]" % piece))]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if len(ids) != len(places) or (starts and last >= ids[0]) or not all(map(lt, ids, ids[1:])):
            return None
        heads += ids[-len(starts) % GROUP :: GROUP]
        starts.extend(places)
        marks += array("I", map(crc32, map(str.encode, ids))).tobytes()[_LOW_BYTE]
        last = ids[-1]
        if b"\\" in piece:
            id_offset = None
        let_others_run()
    starts.append(stop + 1)
    return SortedRows(form, data, starts[:], heads, bytes(marks), id_offset)


def _pieces(form: RowForm[Row], data: bytes | mmap, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of several whole rows, each with the offset of its first row."""
    between, at = form.between, start
    while at < stop:
        boundary = data.find(between, at + _PIECE_BYTES, stop)
        end = stop if boundary < 0 else boundary + len(form.close)
        yield at, data[at:end]
        at = end + 1


def _places(form: RowForm[Row], piece: bytes, at: int) -> list[int]:
    """Return the offsets of rows that are separated only by a comma."""
    between, opening = form.between, len(form.opening)
    lengths = [*map(len, piece.split(between))]
    lengths[0] -= opening  # the first row still has its opening bytes
    return [*accumulate(map(len(between).__add__, lengths[:-1]), initial=at)]


@dataclass(frozen=True, slots=True, eq=False)
class HashedRows(RowIndex[Row]):
    """Rows with a hash table of their numbers, which takes 12 to 28 bytes per row.

    A Python dictionary of ids would take two to four times the blob where rows are short. `slots` holds row numbers
    plus one (0: free) by the low bits of the id's hash. `marks` holds the high half of the hash, so that almost only
    the requested row is decoded.
    """

    slots: "array[int]"
    marks: "array[int]"

    @property
    def _finder_bytes(self) -> int:
        return sum(len(table) * table.itemsize for table in (self.slots, self.marks))

    def find(self, key: str) -> Row | None:
        """Return the first row of an id, or None if there is none. Decodes one row, whatever the number of rows."""
        mask = len(self.slots) - 1
        hashed = hash(key)
        slot, mark = hashed & mask, (hashed >> 32) & _LOW_HALF
        while number := self.slots[slot]:
            if self.marks[slot] == mark:
                row = self.row(number - 1)
                if self.form.id_of(row) == key:
                    return row
            slot = (slot + 1) & mask
        return None


def hash_rows(form: RowForm[Row], data: bytes | mmap, *, start: int, stop: int, name: str) -> HashedRows[Row]:
    """Return an index over the rows in `data[start:stop]`, each decoded once and checked.

    Raises `CorruptObjectError` with the offset of the first row that does not have the layout.
    """
    starts, hashes = array("I"), array("q")
    paused = start
    for at, end in _spans(form, data, start, stop):
        starts.append(at)
        hashes.append(hash(_id_at(form, data, at, end, name)))
        if end - paused > _PAUSE_BYTES or len(starts) & _PAUSE_ROWS == 0:
            paused = end
            let_others_run()
    starts.append(stop + 1)
    return _with_table(form, data, starts, hashes)


def _spans(form: RowForm[Row], data: bytes | mmap, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each row."""
    between = form.between
    at = start
    while at < stop:
        boundary = data.find(between, at, stop)
        end = stop if boundary < 0 else boundary + len(form.close)
        yield at, end
        at = end + 1


def _id_at(form: RowForm[Row], data: bytes | mmap, at: int, end: int, name: str) -> str:
    try:
        return form.id_of(form.decoder.decode(memoryview(data)[at:end]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptObjectError(
            f"{name}: the row at byte {at} is not a row of {form.body!r} with the key {form.key}: {error}: "
            f"{data[at : at + 80]!r}; build it again"
        ) from error


def _with_table(form: RowForm[Row], data: bytes | mmap, starts: "array[int]", hashes: "array[int]") -> HashedRows[Row]:
    """Fill the table, which is at most two thirds full. Of several rows with one id, `find` returns the first."""
    size = 1 << (len(hashes) + len(hashes) // 2).bit_length()
    slots, marks = array("I", bytes(4 * size)), array("I", bytes(4 * size))
    index = HashedRows(form, data, starts, slots, marks)
    mask = size - 1
    for number, hashed in enumerate(hashes):
        slot, mark = hashed & mask, (hashed >> 32) & _LOW_HALF
        while slots[slot]:
            if marks[slot] == mark and _same_id(index, slots[slot] - 1, number):
                break
            slot = (slot + 1) & mask
        else:
            slots[slot], marks[slot] = number + 1, mark
        if number & _PAUSE_SLOTS == _PAUSE_SLOTS:
            let_others_run()
    return index


def _same_id(index: RowIndex[Row], row: int, other: int) -> bool:
    id_of = index.form.id_of
    return id_of(index.row(row)) == id_of(index.row(other))
