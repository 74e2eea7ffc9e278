"""Compiled scan of one line: checks it from its first byte to its newline, and notes the position of each value.

Only lines that are provably good events are accepted. `REFUSED` only means that the reference reader must judge.

States of a line. (1) A shape is known: `_follow_shape` compares the gap before each value byte by byte with the gap of
the line before, and checks only the value. Any difference leads to (2). (2) `_read_names`: before a name (`{` or `,`
was read), before a value (`:` was read), after a value. `}` and the newline end it, and its gaps become the shape.
Anything else, a known name that appears twice, or a required field that is absent is `REFUSED`. No note of (1) remains
in (2), which first resets values, names and rank.

Bounds. The shape points into the same array, to an earlier line, so that comparing a gap only reads existing bytes. A
gap that matches ends, like the gap that it equals, at or before a newline, and values stop at the newline as
`json_scan` explains. `names` and `shape` have capacity for `_MAX_VALUES` values: `_read_names` stops before there are
more, and a shape has no more. Decoded strings are written from `_SPARE` on, where there is space for a whole line:
decoding never lengthens a text.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import WORD_MASKS, Bytes, byte_at, equal_bytes, load_word
from recsys_assets.ingest.json_scan import REFUSED, after_digits, after_null, after_space, after_value, end_of_string
from recsys_assets.ingest.text_scan import decode_escapes, trim_span

# Sorted by length, so that a name is compared only with those of its own length.
FIELDS = ("v", "ts", "rank", "event", "tenant", "surface", "item_id", "user_id", "session_id", "request_id")
V, TS, RANK, EVENT, TENANT, SURFACE, ITEM, USER, SESSION, REQUEST = range(len(FIELDS))
_UNKNOWN = -1
_WORD = 8  # bytes
_LENGTHS = np.array([len(name) for name in FIELDS])
_HEADS = np.array([int.from_bytes(name.encode()[:8], "little") for name in FIELDS], np.uint64)
_TAIL = np.uint64(int.from_bytes(b"id", "little"))  # the end of both names that are longer than a word
_FIRST_OF_LENGTH = np.array([next((f for f, n in enumerate(FIELDS) if len(n) == size), -1) for size in range(11)])
_ALL = (1 << len(FIELDS)) - 1
_OPTIONAL = sum(1 << field for field in (RANK, EVENT, USER, REQUEST))

_QUOTE, _OPEN, _CLOSE, _COMMA, _COLON, _NEWLINE, _ZERO, _ONE = (np.uint8(ord(c)) for c in '"{},:\n01')
_MAX_RANK_DIGITS = 18  # Always fit in 64 bits. The reference reader judges longer numbers.
_MAX_VALUES = 64
NAMES, RANK_VALUE, _VALUES, _SPARE, _OPTIONALS = range(5)


class LineNotes(NamedTuple):
    """Notes on the current line, and on the shape of the last line that was read name by name.

    `values[field]` holds start and end of a string, both 0 where it is absent. `names[n]` holds start and length of an
    unknown name. The shape lists the values in their order: `shape[n]` holds the field, start and length of the gap
    before its value (the bytes between the previous value and this one), and offset in the gap and length of the name.
    `state` holds the number of unknown names, the rank, the number of values of the shape (0 without a shape), the
    position at which decoded escapes may be written, and the set of fields, as bits, that may be absent or blank.
    """

    values: NDArray[np.int64]
    names: NDArray[np.int64]
    shape: NDArray[np.int64]
    state: NDArray[np.int64]


def new_line(spare: int, *, needs_session: bool = True) -> LineNotes:
    """Return empty notes. Strings with escapes are decoded into `data[spare:]`, which must be as long as a line."""
    values, names = np.zeros((len(FIELDS), 2), np.int64), np.empty((_MAX_VALUES, 2), np.int64)
    optional = _OPTIONAL if needs_session else _OPTIONAL | 1 << SESSION
    return LineNotes(values, names, np.empty((_MAX_VALUES + 1, 5), np.int64), np.array([0, 0, 0, spare, optional]))


@compiled
def forget_shape(line: LineNotes) -> None:
    """Drop the shape, because the data that it points to is no longer valid. The next line is read name by name."""
    line.state[_VALUES] = 0


@inlined
def scan_line(data: Bytes, position: int, line: LineNotes) -> int:
    """Note the values of the line that starts at `position`. Returns the position of its newline, or `REFUSED`."""
    # Writers rarely change the order of fields or the spaces: most lines differ from the one before only in the values.
    end = _follow_shape(data, position, line) if line.state[_VALUES] > 0 else REFUSED
    return end if end >= 0 else _read_names(data, position, line)


@inlined
def _follow_shape(data: Bytes, position: int, line: LineNotes) -> int:
    line.state[NAMES] = 0
    spare = line.state[_SPARE]
    count = line.state[_VALUES]
    for index in range(count):
        field, gap, length = line.shape[index, 0], line.shape[index, 1], line.shape[index, 2]
        if not equal_bytes(data, gap, data, position, length):
            return REFUSED
        if field == _UNKNOWN:
            _note_name(line, position + line.shape[index, 3], line.shape[index, 4])
        position, spare = _read_value(data, position + length, field, line, spare)
        if position < 0:
            return REFUSED
    gap, length = line.shape[count, 1], line.shape[count, 2]
    return position + length - 1 if equal_bytes(data, gap, data, position, length) else REFUSED


@compiled
def _read_names(data: Bytes, position: int, line: LineNotes) -> int:
    """Read a line name by name, and note its shape."""
    line.state[NAMES] = line.state[_VALUES] = line.state[RANK_VALUE] = 0
    for field in range(len(_LENGTHS)):
        line.values[field, 0] = line.values[field, 1] = 0
    seen = index = 0
    spare = line.state[_SPARE]
    gap, separator = position, _OPEN
    position = after_space(data, position)
    while byte_at(data, position) == separator and index < _MAX_VALUES:
        field, position = _read_name(data, after_space(data, position + 1), line, gap, index)
        if position < 0 or (field >= 0 and seen >> field & 1):
            return REFUSED
        seen |= 1 << field if field >= 0 else 0
        gap, spare = _read_value(data, position, field, line, spare)
        if gap < 0:
            return REFUSED
        position = after_space(data, gap)
        separator = _COMMA
        index += 1
    if seen | line.state[_OPTIONALS] != _ALL or byte_at(data, position) != _CLOSE:
        return REFUSED
    position = after_space(data, position + 1)
    if byte_at(data, position) != _NEWLINE:
        return REFUSED
    line.shape[index, 1] = gap
    line.shape[index, 2] = position + 1 - gap
    line.state[_VALUES] = index
    return position


@compiled
def _read_name(data: Bytes, position: int, line: LineNotes, gap: int, index: int) -> tuple[int, int]:
    """Return the field that a name means, and the start of its value."""
    end, escaped = end_of_string(data, position + 1) if byte_at(data, position) == _QUOTE else (REFUSED, False)
    if end < 0 or escaped:
        return _UNKNOWN, REFUSED
    start = position + 1
    field = _field_of(data, start, end - start)
    if field == _UNKNOWN:
        _note_name(line, start, end - start)
    position = after_space(data, end + 1)
    if byte_at(data, position) != _COLON:
        return field, REFUSED
    position = after_space(data, position + 1)
    line.shape[index, 0], line.shape[index, 1], line.shape[index, 2] = field, gap, position - gap
    line.shape[index, 3], line.shape[index, 4] = start - gap, end - start
    return field, position


@compiled
def _field_of(data: Bytes, start: int, length: int) -> int:
    if length >= len(_FIRST_OF_LENGTH):
        return _UNKNOWN
    field = _FIRST_OF_LENGTH[length]
    head = load_word(data, start) & WORD_MASKS[min(length, _WORD)]
    while 0 <= field < len(_LENGTHS) and _LENGTHS[field] == length:
        if _HEADS[field] == head and (length <= _WORD or load_word(data, start + _WORD) & WORD_MASKS[2] == _TAIL):
            return field
        field += 1
    return _UNKNOWN


@inlined
def _note_name(line: LineNotes, start: int, length: int) -> None:
    count = line.state[NAMES]
    line.names[count, 0] = start
    line.names[count, 1] = length
    line.state[NAMES] = count + 1


@inlined
def _read_value(data: Bytes, position: int, field: int, line: LineNotes, spare: int) -> tuple[int, int]:
    """Check a value and note it. Returns the position after it, and the position for the next decoded string."""
    byte = byte_at(data, position)
    if field == _UNKNOWN:
        return after_value(data, position), spare
    if field == V:
        is_one = byte == _ONE and after_digits(data, position) == position + 1
        return position + 1 if is_one else REFUSED, spare
    if field == RANK:
        return _read_rank(data, position, line), spare
    if byte == _QUOTE:
        return _read_string(data, position + 1, field, line, spare)
    line.values[field, 0] = line.values[field, 1] = 0
    return after_null(data, position) if line.state[_OPTIONALS] >> field & 1 else REFUSED, spare


@inlined
def _read_string(data: Bytes, start: int, field: int, line: LineNotes, spare: int) -> tuple[int, int]:
    end, escaped = end_of_string(data, start)
    if end < 0:
        return REFUSED, spare
    after = end + 1
    if escaped:
        start, end = spare, decode_escapes(data, start, end, spare)
        spare = end
    if field != TS:
        start, end = trim_span(data, start, end)
        if start == end:
            line.values[field, 0] = line.values[field, 1] = 0
            return after if line.state[_OPTIONALS] >> field & 1 else REFUSED, spare
    line.values[field, 0] = start
    line.values[field, 1] = end
    return after, spare


@inlined
def _read_rank(data: Bytes, start: int, line: LineNotes) -> int:
    end = after_digits(data, start)
    rank = 0
    line.state[RANK_VALUE] = 0
    if end == start:
        return after_null(data, start)
    if end - start > _MAX_RANK_DIGITS or (byte_at(data, start) == _ZERO and end > start + 1):
        return REFUSED
    for position in range(start, end):
        rank = rank * 10 + byte_at(data, position) - 48
    line.state[RANK_VALUE] = rank
    return end
