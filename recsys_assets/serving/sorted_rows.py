"""Rows in the order of their ids, as kinds of lists are stored: found by binary search, with 6 bytes per row."""

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from mmap import mmap
from operator import lt
from typing import Final
from zlib import crc32

import msgspec

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving.hashed_rows import hash_rows
from recsys_assets.serving.row_index import MAX_INDEXED_BYTES, Row, RowForm, RowIndex, let_others_run

GROUP: Final = 64  # Rows. Smaller groups need more memory for ids, and in larger ones more rows share a mark.
_PIECE_BYTES: Final = 1 << 13  # bytes after which the thread yields to requests: a tenth of a millisecond of work
_LOW_BYTE: Final = slice(0, None, 4) if sys.byteorder == "little" else slice(3, None, 4)


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
