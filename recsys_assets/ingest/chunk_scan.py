"""Compiled scan of many lines in one pass: provably good lines become rows of codes, all others are handed back."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import PADDING
from recsys_assets.compiled.interning import FULL, Tables, clear, intern, new_tables
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import Bytes, equal_bytes, find_newlines, lowest_bit
from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.line_scan import (
    FIELDS,
    NAMES,
    RANK_VALUE,
    SESSION,
    TS,
    USER,
    LineNotes,
    forget_shape,
    new_line,
    scan_line,
)
from recsys_assets.ingest.part_merge import ABSENT, CODED_COLUMNS
from recsys_assets.ingest.text_scan import read_instant

TABLES = (*CODED_COLUMNS, "tenant", "surface", "unknown")
TENANT, SURFACE, UNKNOWN = (TABLES.index(name) for name in ("tenant", "surface", "unknown"))
# Lower bound of the bytes of a good line (the required fields take more): it bounds the rows that a chunk can hold.
SHORTEST_LINE = 80
_FIELD_OF_TABLE = np.array([FIELDS.index(name) for name in TABLES[:UNKNOWN]])
_MAX_HANDED_BACK = 1 << 14


class Scratch(NamedTuple):
    """Output arrays of a scan, allocated once and reused for many chunks.

    Row n of `ts`, `rank`, `codes[table]` and `lines` (number, start, end) is one good line. `handed_back` holds number,
    start and end of the other lines. `name_counts[code]` counts unknown names.
    """

    ts: NDArray[np.int64]
    rank: NDArray[np.int64]
    codes: NDArray[np.uint32]
    lines: NDArray[np.int64]
    handed_back: NDArray[np.int64]
    name_counts: NDArray[np.int64]


class Progress(NamedTuple):
    """Progress of a scan: the next byte, the next line number, and the number of rows and handed back lines so far."""

    position: int
    line: int
    rows: int
    handed_back: int


class Scanner(NamedTuple):
    """Memory of a scan, used by one scan at a time. Each thread needs its own."""

    scratch: Scratch
    tables: Tables
    line: LineNotes


def new_scanner(chunk_bytes: int, *, needs_session: bool = True) -> Scanner:
    """Return memory for chunks of at most `chunk_bytes` bytes, stored in arrays of `buffer_bytes(chunk_bytes)` bytes.

    Without `needs_session`, a line with a user and no session is also good. The code of its session is `ABSENT`.
    """
    rows = chunk_bytes // SHORTEST_LINE + 1
    return Scanner(
        Scratch(
            np.empty(rows, np.int64),
            np.empty(rows, np.int64),
            np.empty((UNKNOWN, rows), np.uint32),
            np.empty((rows, 3), np.int64),
            np.empty((_MAX_HANDED_BACK, 3), np.int64),
            np.empty(rows, np.int64),
        ),
        new_tables(len(TABLES), capacity=rows, text_bytes=chunk_bytes),
        new_line(chunk_bytes + PADDING, needs_session=needs_session),
    )


def buffer_bytes(chunk_bytes: int) -> int:
    """Return the length of the array that holds a chunk: the text, the same size for decoded escapes, and padding."""
    return 2 * (chunk_bytes + PADDING)


@compiled
def start_chunk(scanner: Scanner) -> Progress:
    """Reset the scanner for a new chunk. Returns the initial progress."""
    clear(scanner.tables)
    forget_shape(scanner.line)
    return Progress(0, 0, 0, 0)


@compiled
def scan_chunk(data: Bytes, size: int, progress: Progress, scanner: Scanner) -> Progress:
    """Scan the lines of `data[:size]`, which ends with a newline, starting at `progress`. Returns the new progress.

    Stops early when `handed_back` is full. The caller then processes those lines, sets `handed_back` of the progress to
    0 and calls again.
    """
    scratch, tables, line = scanner
    position, number, rows, handed_back = progress
    while position < size and handed_back < _MAX_HANDED_BACK:
        end = scan_line(data, position, line)
        if end >= 0 and end - position <= MAX_LINE_BYTES and _write_row(data, line, tables, scratch, rows):
            _write_span(scratch.lines, rows, number, position, end)
            rows += 1
        else:
            end = _end_of_line(data, position)
            _write_span(scratch.handed_back, handed_back, number, position, end)
            handed_back += 1
        position = end + 1
        number += 1
    return Progress(position, number, rows, handed_back)


@inlined
def _write_row(data: Bytes, line: LineNotes, tables: Tables, scratch: Scratch, row: int) -> bool:
    """Write the noted line as a row.

    Returns False if the compiled code cannot read its timestamp, it has neither session nor user, or a table is full.
    """
    instant = read_instant(data, line.values[TS, 0], line.values[TS, 1])
    if instant < 0 or (line.values[SESSION, 1] == 0 and line.values[USER, 1] == 0):
        return False
    scratch.ts[row] = instant
    scratch.rank[row] = line.state[RANK_VALUE]
    for table in range(UNKNOWN):
        start, end = line.values[_FIELD_OF_TABLE[table], 0], line.values[_FIELD_OF_TABLE[table], 1]
        code = _code_of_row_before(data, tables, scratch, table, row, start, end - start) if table >= TENANT else FULL
        if code == FULL:
            code = intern(tables, table, data, start, end - start) if end > start else ABSENT
            if code == FULL:
                return False
        scratch.codes[table, row] = code
    return _count_names(data, line, tables, scratch)


@inlined
def _code_of_row_before(
    data: Bytes, tables: Tables, scratch: Scratch, table: int, row: int, start: int, length: int
) -> int:
    """Return the code of the previous row if its text is the same, else `FULL`."""
    if row == 0:
        return FULL
    code = scratch.codes[table, row - 1]
    same = tables.spans[table, code, 1] == length
    return int(code) if same and equal_bytes(data, start, tables.text, tables.spans[table, code, 0], length) else FULL


@inlined
def _count_names(data: Bytes, line: LineNotes, tables: Tables, scratch: Scratch) -> bool:
    """Count all unknown names of a line, or none and return False: a line that is handed back is counted elsewhere."""
    for index in range(line.state[NAMES]):
        count = tables.state[UNKNOWN, 0]
        code = intern(tables, UNKNOWN, data, line.names[index, 0], line.names[index, 1])
        if code == FULL:
            return False
        if code == count:
            scratch.name_counts[code] = 0
        line.names[index, 0] = code
    for index in range(line.state[NAMES]):
        scratch.name_counts[line.names[index, 0]] += 1
    return True


@compiled
def _end_of_line(data: Bytes, position: int) -> int:
    while True:
        newlines = find_newlines(data, position)
        position += lowest_bit(newlines)
        if newlines != 0:
            return position


@inlined
def _write_span(spans: NDArray[np.int64], index: int, number: int, start: int, end: int) -> None:
    spans[index, 0] = number
    spans[index, 1] = start
    spans[index, 2] = end
