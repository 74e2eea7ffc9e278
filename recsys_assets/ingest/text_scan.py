"""Compiled readers of string values: they decode escapes, trim White_Space and parse timestamps.

`json_scan` has checked the spans: UTF-8 sequences and escapes are complete. So decoding has no state "invalid": it
reads 2, 6 or 12 bytes at a backslash, else 1, and `start` meets `end` exactly. The output (at most 4 bytes for 12 read,
3 for 6, 1 for 2) never overtakes the input, so that the spare space of one line suffices.

A timestamp is read by position, after its length is checked (20 to 35 bytes): day at 0, separator at 10, clock at
11, then an optional fraction, then `Z` or an offset, which must end where the string ends. A byte that is not a digit
makes the result of `_two_digits` so negative that each range check fails, so that no state needs a flag.
"""

# ruff: noqa: PLR0911, PLR1714, PLR2004 - byte values are literals, and compiled code compares them one by one.

import numpy as np

from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import Bytes, byte_at
from recsys_assets.ingest.json_scan import REFUSED, after_escape, hex_unit
from recsys_assets.ingest.timestamps import days_before

_BACKSLASH, _LOWER_U, _POINT, _COLON, _DASH, _PLUS = (np.uint8(ord(c)) for c in "\\u.:-+")
_T, _SMALL_T, _Z, _SMALL_Z = (np.uint8(ord(c)) for c in "TtZz")
_SPACE, _NOT_ASCII = 0x20, 0x80
_PLAIN = np.array(
    [ord({"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}.get(chr(c), chr(c))) for c in range(256)]
)
# Days before the year 1970 + n, and before each month. The reference reader reads later years.
_FIRST_YEAR, _YEARS = 1970, 230
_DAYS_BEFORE_YEAR = np.array([days_before(_FIRST_YEAR + n, 1, 1) for n in range(_YEARS)])
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE_MONTH = np.concatenate([[0], np.cumsum(_MONTH_DAYS)])
_SHORTEST, _LONGEST = len("2026-01-31T04:00:00Z"), len("2026-01-31T04:00:00.123456789+01:00")
_NO_OFFSET = 1 << 20


@compiled
def decode_escapes(data: Bytes, start: int, end: int, target: int) -> int:
    """Write the checked text of `data[start:end]` with escapes decoded from `target` on. Returns the end position."""
    while start < end:
        byte = byte_at(data, start)
        if byte != _BACKSLASH:
            data[target] = byte
            start += 1
            target += 1
        elif byte_at(data, start + 1) != _LOWER_U:
            data[target] = _PLAIN[data[start + 1]]
            start += 2
            target += 1
        else:
            after = after_escape(data, start)
            character = hex_unit(data, start + 2)
            if after - start > 6:
                character = 0x10000 + ((character & 0x3FF) << 10) + (hex_unit(data, start + 8) & 0x3FF)
            target = _encode_character(data, character, target)
            start = after
    return target


@compiled
def _encode_character(data: Bytes, character: int, target: int) -> int:
    if character < 0x80:
        data[target] = character
        return target + 1
    length = 2 if character < 0x800 else 3 if character < 0x10000 else 4
    for back in range(length - 1, 0, -1):
        data[target + back] = 0x80 | character & 0x3F
        character >>= 6
    data[target] = (0xF00 >> length) & 0xFF | character
    return target + length


@inlined
def trim_span(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Return the span without White_Space at its ends."""
    while start < end and (byte_at(data, start) <= _SPACE or byte_at(data, start) >= _NOT_ASCII):
        width = _white_space(data, start, end)
        if width == 0:
            break
        start += width
    while start < end and (byte_at(data, end - 1) <= _SPACE or byte_at(data, end - 1) >= _NOT_ASCII):
        width = 0
        for back in range(1, 4):
            if end - back >= start and _white_space(data, end - back, end) == back:
                width = back
        if width == 0:
            break
        end -= width
    return start, end


@compiled
def _white_space(data: Bytes, start: int, end: int) -> int:
    """Return the number of bytes of the White_Space character at `start`, 0 if there is none."""
    first = byte_at(data, start)
    if first == 0x20 or 0x09 <= first <= 0x0D:
        return 1
    if first == 0xC2 and end - start >= 2:
        return 2 if byte_at(data, start + 1) == 0x85 or byte_at(data, start + 1) == 0xA0 else 0
    if end - start < 3:
        return 0
    second, third = byte_at(data, start + 1), byte_at(data, start + 2)
    if first == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE3:
        return 3 if second == 0x80 and third == 0x80 else 0
    if first != 0xE2:
        return 0
    if second == 0x80:
        return 3 if third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
    return 3 if second == 0x81 and third == 0x9F else 0


@inlined
def read_instant(data: Bytes, start: int, end: int) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 timestamp of the years 1971 to 2198, else `REFUSED`."""
    if not _SHORTEST <= end - start <= _LONGEST:
        return REFUSED
    day = _days(data, start)
    separator = byte_at(data, start + 10)
    seconds = _clock(data, start + 11)
    if day < 0 or seconds < 0 or (separator != _T and separator != _SMALL_T):
        return REFUSED
    position = start + 19
    fraction = 0
    if byte_at(data, position) == _POINT:
        position, fraction = _fraction(data, position + 1, end)
    if position < 0 or position >= end:
        return REFUSED
    if byte_at(data, position) == _Z or byte_at(data, position) == _SMALL_Z:
        offset = 0 if position + 1 == end else _NO_OFFSET
    else:
        offset = _offset(data, position, end)
    if offset == _NO_OFFSET:
        return REFUSED
    return ((day * 86_400 + seconds - offset) * 1_000_000_000) + fraction


@inlined
def _two_digits(data: Bytes, position: int) -> int:
    tens, ones = int(byte_at(data, position)) - 48, int(byte_at(data, position + 1)) - 48
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else -10_000


@inlined
def _days(data: Bytes, position: int) -> int:
    year = _two_digits(data, position) * 100 + _two_digits(data, position + 2) - _FIRST_YEAR
    month, day = _two_digits(data, position + 5), _two_digits(data, position + 8)
    if (
        byte_at(data, position + 4) != _DASH
        or byte_at(data, position + 7) != _DASH
        or not 1 <= year < _YEARS - 1
        or not 1 <= month <= 12
    ):
        return REFUSED
    leap = year % 4 == 2 and year != 130  # 1972 is a leap year, 2100 is not
    if not 1 <= day <= _MONTH_DAYS[month] + (leap and month == 2):
        return REFUSED
    return _DAYS_BEFORE_YEAR[year] + _DAYS_BEFORE_MONTH[month] + (leap and month > 2) + day - 1


@inlined
def _clock(data: Bytes, position: int) -> int:
    hour, minute, second = (
        _two_digits(data, position),
        _two_digits(data, position + 3),
        _two_digits(data, position + 6),
    )
    if byte_at(data, position + 2) != _COLON or byte_at(data, position + 5) != _COLON:
        return REFUSED
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return REFUSED
    return hour * 3600 + minute * 60 + second


@inlined
def _fraction(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """Return the position after one to nine digits of a fraction, and its nanoseconds."""
    nanoseconds = 0
    digits = 0
    while position < end and 48 <= byte_at(data, position) <= 57:
        nanoseconds = nanoseconds * 10 + byte_at(data, position) - 48
        position += 1
        digits += 1
    if not 1 <= digits <= 9:
        return REFUSED, 0
    for _ in range(9 - digits):
        nanoseconds *= 10
    return position, nanoseconds


@inlined
def _offset(data: Bytes, position: int, end: int) -> int:
    """Return seconds east of UTC."""
    sign = byte_at(data, position)
    if end - position != 6 or (sign != _DASH and sign != _PLUS) or byte_at(data, position + 3) != _COLON:
        return _NO_OFFSET
    hours, minutes = _two_digits(data, position + 1), _two_digits(data, position + 4)
    if not (0 <= hours <= 23 and 0 <= minutes <= 59):
        return _NO_OFFSET
    seconds = hours * 3600 + minutes * 60
    return -seconds if sign == _DASH else seconds
