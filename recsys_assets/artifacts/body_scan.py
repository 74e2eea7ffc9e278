"""The compiled scan of a blob's body: each byte looked at once, the first one out of place named by its offset."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_assets.artifacts.escaping import Pieces
from recsys_assets.artifacts.rows import Codes, Numbers
from recsys_assets.raw.compiling import compiled, inlined
from recsys_assets.raw.interning import Tables, intern
from recsys_assets.raw.words import Bytes, byte_at, equal_bytes, find_special, lowest_bit

STOPPED, LISTS, MEMBERS = 0, 1, 2  # of the state: where the scan ended, and how many of each it read
BEFORE_KEY, AFTER_KEY, BEFORE_MEMBER, AFTER_MEMBER = range(4)  # of the fixed texts, the first bracket or comma left out
MAX_VALUE = 2**53  # readers hold numbers as doubles, in which whole numbers are exact below it
_OPEN, _CLOSE, _COMMA, _POINT, _ZERO, _NINE, _BRACE, _QUOTE, _BACKSLASH = (ord(char) for char in '[],.09}"\\')
_TEN = 10
_WIDTH = 32
_BAD = -1


class Found(NamedTuple):
    """Where a scan puts what it reads: ids as codes of its tables, in order of appearance."""

    keys: Codes
    offsets: Numbers
    members: Codes
    values: Numbers
    key_texts: Tables
    member_texts: Tables
    state: NDArray[np.int64]


@compiled
def scan_body(data: Bytes, start: int, stop: int, fixed: Pieces, scale: int, found: Found) -> bool:
    """Read the array at `start`; return whether it ends at `stop`, all of it as the encoder writes it.

    The state tells where the scan stopped: the first byte out of place, if the array is not as it should be. Behind
    `stop` there must be `PADDING` readable bytes. Without room for keys the array is a list of members; without a
    scale they have no values.
    """
    found.offsets[0] = 0
    found.state[STOPPED] = start
    if not len(found.keys):
        found.state[LISTS] = 1
        at = _scan_list(data, start, stop, fixed, scale, found, 0)
        found.offsets[1] = found.state[MEMBERS]
        return at == stop
    at, lists = start, 0
    if byte_at(data, at) == _OPEN and byte_at(data, at + 1) == _CLOSE:
        return at + 2 == stop
    while at != _BAD and at < stop and byte_at(data, at) == (_COMMA if lists else _OPEN):
        at = _scan_row(data, at + 1, stop, fixed, scale, found, lists)
        lists += 1
        found.offsets[lists] = found.state[MEMBERS]
    found.state[LISTS] = lists
    if at == _BAD:
        return False
    found.state[STOPPED] = at
    return lists > 0 and at + 1 == stop and byte_at(data, at) == _CLOSE


@inlined
def _scan_row(data: Bytes, at: int, stop: int, fixed: Pieces, scale: int, found: Found, row: int) -> int:
    at = _expect(data, at, fixed, BEFORE_KEY, found)
    end = _string_end(data, at, stop, found)
    if end == _BAD:
        return _BAD
    found.keys[row] = intern(found.key_texts, 0, data, at + 1, end - at - 2)
    at = _scan_list(data, _expect(data, end, fixed, AFTER_KEY, found), stop, fixed, scale, found, row)
    return _expect_byte(data, at, _BRACE, found)


@inlined
def _scan_list(data: Bytes, at: int, stop: int, fixed: Pieces, scale: int, found: Found, row: int) -> int:
    """Read the array of members at `at`; return the position behind it."""
    first = count = found.offsets[row]
    at = _expect_byte(data, at, _OPEN, found)
    while at != _BAD and at < stop and byte_at(data, at) != _CLOSE:
        if count > first:
            at = _expect_byte(data, at, _COMMA, found)
        at = _expect(data, at, fixed, BEFORE_MEMBER, found)
        end = _string_end(data, at, stop, found)
        if end == _BAD:
            return _BAD
        found.members[count] = intern(found.member_texts, 0, data, at + 1, end - at - 2)
        at = _expect(data, end, fixed, AFTER_MEMBER, found)
        if scale:
            at = _expect_byte(data, _read_number(data, at, scale, found, count), _BRACE, found)
        count += 1
    found.state[MEMBERS] = count
    return _expect_byte(data, at, _CLOSE, found)


@inlined
def _expect(data: Bytes, at: int, fixed: Pieces, text: int, found: Found) -> int:
    """Return the position behind a fixed text, or _BAD, noting where, if another one stands there."""
    if at == _BAD:
        return _BAD
    start, length = fixed.starts[text], fixed.starts[text + 1] - fixed.starts[text]
    if not equal_bytes(data, at, fixed.data, start, length):
        while byte_at(data, at) == byte_at(fixed.data, start):
            at += 1
            start += 1
        found.state[STOPPED] = at
        return _BAD
    return at + length


@inlined
def _expect_byte(data: Bytes, at: int, byte: int, found: Found) -> int:
    if at == _BAD:
        return _BAD
    if byte_at(data, at) != byte:
        found.state[STOPPED] = at
        return _BAD
    return at + 1


@inlined
def _string_end(data: Bytes, at: int, stop: int, found: Found) -> int:
    """Return the position behind the string that begins at `at`; what stands in it is judged once per distinct one."""
    if _expect_byte(data, at, _QUOTE, found) == _BAD:
        return _BAD
    end = at + 1
    while end < stop:
        end += lowest_bit(find_special(data, end))
        byte = byte_at(data, end) if end < stop else _QUOTE
        if byte == _QUOTE:
            break
        end += 2 if byte == _BACKSLASH else 1
    if end >= stop:
        found.state[STOPPED] = at
        return _BAD
    return end + 1


@inlined
def _read_number(data: Bytes, at: int, scale: int, found: Found, place: int) -> int:
    """Read a number in its shortest form, in units of 1 / `scale`; return the position behind it."""
    if at == _BAD:
        return _BAD
    begin, whole, limit = at, 0, MAX_VALUE // scale
    while _ZERO <= byte_at(data, at) <= _NINE and whole < limit:
        whole = whole * _TEN + np.int64(byte_at(data, at)) - _ZERO
        at += 1
    value, unit, point = whole * scale, scale, at
    if byte_at(data, at) == _POINT:
        at += 1
        while _ZERO <= byte_at(data, at) <= _NINE and unit >= _TEN:
            unit //= _TEN
            value += (np.int64(byte_at(data, at)) - _ZERO) * unit
            at += 1
    leading_zero = point - begin > 1 and byte_at(data, begin) == _ZERO
    trailing = at > point and not (_ZERO < byte_at(data, at - 1) <= _NINE)
    if at == begin or whole >= limit or leading_zero or trailing:
        found.state[STOPPED] = at if at == begin or trailing else begin
        return _BAD
    found.values[place] = value
    return at
