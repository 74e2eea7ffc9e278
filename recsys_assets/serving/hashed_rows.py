"""Rows in any order, found by a hash table of row numbers, such as rankings, which are ordered by count."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Final

import msgspec

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving.row_index import Row, RowForm, RowIndex, let_others_run

# Amounts of work after which the thread yields to requests: a few tenths of a millisecond.
_PAUSE_BYTES: Final = 1 << 14
_PAUSE_ROWS: Final = 0xFF
_PAUSE_SLOTS: Final = 0x1FF
_LOW_HALF: Final = 0xFFFFFFFF


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
