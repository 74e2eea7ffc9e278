"""Compiled checks that find the ends of JSON values: they accept only RFC 8259 and RFC 3629, and return -1 otherwise.

Positions are indexes into a byte array whose text ends with a newline. No JSON value contains one, so that every check
stops there.

Bounds. A check moves forward only over bytes that it has recognised, and no recognised byte is a newline: `after_space`
accepts space, tab and carriage return, `after_digits` digits, and `end_of_string` stops at every control character. So
no position passes the newline of its line. Bytes are read at most 11 positions (the second half of a surrogate pair) or
one vector (32 bytes) after it, which the padding of the array covers. Compiled code does not check indexes: every new
state must preserve this.
"""

# ruff: noqa: PLR1714, PLR2004, SIM109 - byte values are literals, and compiled code compares them one by one.

import numpy as np

from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import WORD_MASKS, Bytes, byte_at, find_special, load_word, lowest_bit

REFUSED = -1
# The reference reader judges deeper values: it also counts the object of the line and allows `json_object.MAX_DEPTH`.
_MAX_DEPTH = 60

_QUOTE, _BACKSLASH, _SPACE, _COMMA, _COLON, _MINUS, _PLUS, _POINT = (np.uint8(ord(c)) for c in '"\\ ,:-+.')
_ZERO, _NINE, _UPPER_E, _LOWER_E, _LOWER_U = (np.uint8(ord(c)) for c in "09Eeu")
_TAB, _RETURN = np.uint8(9), np.uint8(13)
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = (np.uint8(ord(c)) for c in "{}[]")
_NULL, _TRUE, _FALSE = (np.uint64(int.from_bytes(word, "little")) for word in (b"null", b"true", b"false"))
_SHORT_ESCAPES = np.array([chr(c) in '"\\/bfnrt' for c in range(256)])
_HEX = np.array([int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else -1 for c in range(256)])


@inlined
def after_space(data: Bytes, position: int) -> int:
    """Return the first position from `position` on that is not a space, tab or carriage return."""
    while byte_at(data, position) == _SPACE or byte_at(data, position) == _TAB or byte_at(data, position) == _RETURN:
        position += 1
    return position


@inlined
def end_of_string(data: Bytes, position: int) -> tuple[int, bool]:
    """Return the position of the closing quote of a string whose text begins at `position`, and if it has escapes."""
    # State: `position` is the first byte of the text that is not checked yet. One vector at a time is searched for a
    # special byte: quote, backslash, control character, or not ASCII. No special byte: go on with the next vector.
    # Quote: accept. Backslash or a byte over 0x7F: go on after the escape or character, or refuse. Control character,
    # newline included: `after_character` refuses it, so the search never leaves the line.
    escaped = False
    while True:
        special = find_special(data, position)
        position += lowest_bit(special)
        if special == 0:
            continue
        byte = byte_at(data, position)
        if byte == _QUOTE:
            return position, escaped
        if byte == _BACKSLASH:
            escaped = True
            position = after_escape(data, position)
        else:
            position = after_character(data, position)
        if position < 0:
            return REFUSED, escaped


@compiled
def after_character(data: Bytes, position: int) -> int:
    """Return the position after the UTF-8 sequence of one character that is not ASCII."""
    first, second = byte_at(data, position), byte_at(data, position + 1)
    if first < 0xC2 or first > 0xF4:
        return REFUSED
    if first < 0xE0:
        return position + 2 if second & 0xC0 == 0x80 else REFUSED
    # Refused: overlong sequences, surrogates, and code points above U+10FFFF.
    lowest = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
    highest = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
    if not lowest <= second <= highest or byte_at(data, position + 2) & 0xC0 != 0x80:
        return REFUSED
    if first < 0xF0:
        return position + 3
    return position + 4 if byte_at(data, position + 3) & 0xC0 == 0x80 else REFUSED


@compiled
def after_escape(data: Bytes, position: int) -> int:
    """Return the position after an escape. A surrogate pair is one escape. Half of a pair is refused."""
    kind = byte_at(data, position + 1)
    if _SHORT_ESCAPES[kind]:
        return position + 2
    if kind != _LOWER_U:
        return REFUSED
    unit = hex_unit(data, position + 2)
    if unit <= 0 or unit >> 10 == 0x37:  # U+0000 too: the reference reader decides if it is in a known field
        return REFUSED
    if unit >> 10 != 0x36:
        return position + 6
    if byte_at(data, position + 6) != _BACKSLASH or byte_at(data, position + 7) != _LOWER_U:
        return REFUSED
    return position + 12 if hex_unit(data, position + 8) >> 10 == 0x37 else REFUSED


@compiled
def hex_unit(data: Bytes, position: int) -> int:
    """Return the value of four hexadecimal digits."""
    unit = 0
    for offset in range(4):
        digit = _HEX[byte_at(data, position + offset)]
        if digit < 0:
            return REFUSED
        unit = unit << 4 | int(digit)
    return unit


@inlined
def after_null(data: Bytes, position: int) -> int:
    """Return the position after `null`."""
    return position + 4 if load_word(data, position) & WORD_MASKS[4] == _NULL else REFUSED


@compiled
def after_number(data: Bytes, position: int) -> int:
    """Return the position after a number of any size."""
    if byte_at(data, position) == _MINUS:
        position += 1
    whole = after_digits(data, position)
    if whole == position or (byte_at(data, position) == _ZERO and whole > position + 1):
        return REFUSED
    position = whole
    if byte_at(data, position) == _POINT:
        position = after_digits(data, whole + 1)
        if position == whole + 1:
            return REFUSED
    if byte_at(data, position) == _LOWER_E or byte_at(data, position) == _UPPER_E:
        sign = byte_at(data, position + 1)
        first = position + (2 if sign == _MINUS or sign == _PLUS else 1)
        position = after_digits(data, first)
        if position == first:
            return REFUSED
    return position


@inlined
def after_digits(data: Bytes, position: int) -> int:
    """Return the first position from `position` on that is not a decimal digit."""
    while _ZERO <= byte_at(data, position) <= _NINE:
        position += 1
    return position


@compiled
def after_value(data: Bytes, position: int) -> int:
    """Return the position after a value of any type, at most `_MAX_DEPTH` brackets deep."""
    # A stack machine without recursion. The state at the top of the loop is "before a value" at `position`, inside
    # `depth` brackets. An opening bracket is pushed, and its first value (in an object, after the name) is next, unless
    # it closes at once. After a scalar or an empty bracket, `_after_item` pops every bracket that closes there, and
    # stops at a comma, which leads to "before a value" again, or at depth 0: accepted.
    # `kinds` has bits for 64 brackets and `_MAX_DEPTH` is 60, so that the shift loses no open bracket.
    depth = 0
    kinds = np.uint64(0)  # one bit for each open bracket, the innermost lowest: 1 is an object
    while True:
        byte = byte_at(data, position)
        if byte == _OPEN_OBJECT or byte == _OPEN_ARRAY:
            depth += 1
            kinds = kinds << np.uint64(1) | np.uint64(byte == _OPEN_OBJECT)
            position = after_space(data, position + 1)
            empty = byte_at(data, position) == (_CLOSE_OBJECT if byte == _OPEN_OBJECT else _CLOSE_ARRAY)
            if not empty:
                position = _before_value(data, position, kinds) if depth <= _MAX_DEPTH else REFUSED
        else:
            empty = True
            position = _after_scalar(data, position)
        if position < 0 or depth == 0:
            return position
        if empty:
            position, depth, kinds = _after_item(data, position, depth, kinds)
            if position < 0 or depth == 0:
                return position


@compiled
def _before_value(data: Bytes, position: int, kinds: np.uint64) -> int:
    """Return the start of the next value of the innermost bracket: after its name and colon in an object."""
    if not kinds & np.uint64(1):
        return position
    if byte_at(data, position) != _QUOTE:
        return REFUSED
    end, _ = end_of_string(data, position + 1)
    if end < 0:
        return REFUSED
    position = after_space(data, end + 1)
    return after_space(data, position + 1) if byte_at(data, position) == _COLON else REFUSED


@compiled
def _after_scalar(data: Bytes, position: int) -> int:
    byte = byte_at(data, position)
    if byte == _QUOTE:
        end, _ = end_of_string(data, position + 1)
        return end + 1 if end >= 0 else REFUSED
    if byte == _MINUS or _ZERO <= byte <= _NINE:
        return after_number(data, position)
    word = load_word(data, position)
    if word & WORD_MASKS[4] == _NULL or word & WORD_MASKS[4] == _TRUE:
        return position + 4
    return position + 5 if word & WORD_MASKS[5] == _FALSE else REFUSED


@compiled
def _after_item(data: Bytes, position: int, depth: int, kinds: np.uint64) -> tuple[int, int, np.uint64]:
    """Pop the brackets that close after an item.

    Return the start of the next value (or, at depth 0, the position after the outermost bracket), depth and kinds.
    """
    while depth > 0:
        position = after_space(data, position)
        if byte_at(data, position) == _COMMA:
            return _before_value(data, after_space(data, position + 1), kinds), depth, kinds
        if byte_at(data, position) != (_CLOSE_OBJECT if kinds & np.uint64(1) else _CLOSE_ARRAY):
            return REFUSED, depth, kinds
        position += 1
        depth -= 1
        kinds >>= np.uint64(1)
    return position, depth, kinds
