"""Decoder of blobs to rows: accepts exactly the encoder's output, and reports the offset of anything else."""

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from recsys_assets.artifact_format import Envelope, parse, unquote
from recsys_assets.compiled.arrays import PADDING, Codes, Numbers
from recsys_assets.compiled.interning import Tables, intern, new_tables
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import Bytes, byte_at, equal_bytes, find_special, lowest_bit
from recsys_assets.encoding.encoder import JoinedTexts, contains_special, fixed_texts, needs_escape
from recsys_assets.encoding.rows import Rows
from recsys_assets.errors import CorruptObjectError
from recsys_assets.kind_descriptions import Shape

STOPPED, LISTS, MEMBERS = 0, 1, 2  # indices of the state: end of the scan, and numbers of lists and members read
BEFORE_KEY, AFTER_KEY, BEFORE_MEMBER, AFTER_MEMBER = range(
    4
)  # indices of the fixed texts, without the leading bracket or comma
MAX_VALUE = 2**53  # integers below it are exact in doubles, which readers use
_OPEN, _CLOSE, _COMMA, _POINT, _ZERO, _NINE, _BRACE, _QUOTE, _BACKSLASH = (ord(char) for char in '[],.09}"\\')
_TEN = 10
_WIDTH = 32
_BAD = -1


class ScanBuffers(NamedTuple):
    """Output buffers of a scan. Ids are codes of its tables, in order of appearance."""

    keys: Codes
    offsets: Numbers
    members: Codes
    values: Numbers
    key_texts: Tables
    member_texts: Tables
    state: NDArray[np.int64]


@compiled
def scan_body(data: Bytes, start: int, stop: int, fixed: JoinedTexts, scale: int, buffers: ScanBuffers) -> bool:
    """Read the array at `start`. Returns whether it ends at `stop` and is exactly as the encoder writes it.

    `state[STOPPED]` is the position of the first wrong byte, if any. `PADDING` readable bytes must follow `stop`.
    Without buffer space for keys the array is a list of members. Without a scale, members have no values.
    """
    buffers.offsets[0] = 0
    buffers.state[STOPPED] = start
    if not len(buffers.keys):
        buffers.state[LISTS] = 1
        at = _scan_list(data, start, stop, fixed, scale, buffers, 0)
        buffers.offsets[1] = buffers.state[MEMBERS]
        return at == stop
    at, lists = start, 0
    if byte_at(data, at) == _OPEN and byte_at(data, at + 1) == _CLOSE:
        return at + 2 == stop
    while at != _BAD and at < stop and byte_at(data, at) == (_COMMA if lists else _OPEN):
        at = _scan_row(data, at + 1, stop, fixed, scale, buffers, lists)
        lists += 1
        buffers.offsets[lists] = buffers.state[MEMBERS]
    buffers.state[LISTS] = lists
    if at == _BAD:
        return False
    buffers.state[STOPPED] = at
    return lists > 0 and at + 1 == stop and byte_at(data, at) == _CLOSE


@inlined
def _scan_row(data: Bytes, at: int, stop: int, fixed: JoinedTexts, scale: int, buffers: ScanBuffers, row: int) -> int:
    at = _expect(data, at, fixed, BEFORE_KEY, buffers)
    end = _string_end(data, at, stop, buffers)
    if end == _BAD:
        return _BAD
    buffers.keys[row] = intern(buffers.key_texts, 0, data, at + 1, end - at - 2)
    at = _scan_list(data, _expect(data, end, fixed, AFTER_KEY, buffers), stop, fixed, scale, buffers, row)
    return _expect_byte(data, at, _BRACE, buffers)


@inlined
def _scan_list(data: Bytes, at: int, stop: int, fixed: JoinedTexts, scale: int, buffers: ScanBuffers, row: int) -> int:
    """Read the array of members at `at`. Returns the position after it."""
    first = count = buffers.offsets[row]
    at = _expect_byte(data, at, _OPEN, buffers)
    while at != _BAD and at < stop and byte_at(data, at) != _CLOSE:
        if count > first:
            at = _expect_byte(data, at, _COMMA, buffers)
        at = _expect(data, at, fixed, BEFORE_MEMBER, buffers)
        end = _string_end(data, at, stop, buffers)
        if end == _BAD:
            return _BAD
        buffers.members[count] = intern(buffers.member_texts, 0, data, at + 1, end - at - 2)
        at = _expect(data, end, fixed, AFTER_MEMBER, buffers)
        if scale:
            at = _expect_byte(data, _read_number(data, at, scale, buffers, count), _BRACE, buffers)
        count += 1
    buffers.state[MEMBERS] = count
    return _expect_byte(data, at, _CLOSE, buffers)


@inlined
def _expect(data: Bytes, at: int, fixed: JoinedTexts, text: int, buffers: ScanBuffers) -> int:
    """Return the position after a fixed text, or _BAD, with the position in the state, if it does not match."""
    if at == _BAD:
        return _BAD
    start, length = fixed.starts[text], fixed.starts[text + 1] - fixed.starts[text]
    if not equal_bytes(data, at, fixed.data, start, length):
        while byte_at(data, at) == byte_at(fixed.data, start):
            at += 1
            start += 1
        buffers.state[STOPPED] = at
        return _BAD
    return at + length


@inlined
def _expect_byte(data: Bytes, at: int, byte: int, buffers: ScanBuffers) -> int:
    if at == _BAD:
        return _BAD
    if byte_at(data, at) != byte:
        buffers.state[STOPPED] = at
        return _BAD
    return at + 1


@inlined
def _string_end(data: Bytes, at: int, stop: int, buffers: ScanBuffers) -> int:
    """Return the position after the string at `at`. Its content is checked once per distinct string."""
    if _expect_byte(data, at, _QUOTE, buffers) == _BAD:
        return _BAD
    end = at + 1
    while end < stop:
        end += lowest_bit(find_special(data, end))
        byte = byte_at(data, end) if end < stop else _QUOTE
        if byte == _QUOTE:
            break
        end += 2 if byte == _BACKSLASH else 1
    if end >= stop:
        buffers.state[STOPPED] = at
        return _BAD
    return end + 1


@inlined
def _read_number(data: Bytes, at: int, scale: int, buffers: ScanBuffers, index: int) -> int:
    """Read a number in its shortest form, in units of 1 / `scale`. Returns the position after it."""
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
        buffers.state[STOPPED] = at if at == begin or trailing else begin
        return _BAD
    buffers.values[index] = value
    return at


def decode(data: bytes, shape: Shape) -> tuple[Envelope, Rows]:
    """Return envelope and rows of a blob in the format of `codec.encode`.

    Codes of keys and members are positions in ascending dictionaries of the ids in the blob. Values are integers in
    units of 1 / scale, from 0 to 2**53 - 1. The version is verified by the store's reader, the order of rows by the
    contract. Raises `CorruptObjectError` with the first byte, or the id, that the encoder would have written
    differently.
    """
    document = parse(data, name="the artifact")
    if document.body != shape.body:
        raise CorruptObjectError(
            f"the artifact has the body {document.body!r}, not {shape.body!r}; it starts with {data[:200]!r}: "
            "build it again"
        )
    return document.envelope, _rows(data, document.start, document.stop, shape)


def _rows(data: bytes, start: int, stop: int, shape: Shape) -> Rows:
    """Scan the body and sort the ids, which are in order of appearance, into ascending dictionaries."""
    fixed = _fixed(shape)
    buffers = _scan_buffers(stop - start, fixed.starts, keyed=shape.key is not None)
    scale = shape.scale if shape.value else 0
    if not scan_body(np.frombuffer(data, np.uint8), start, stop, fixed, scale, buffers):
        at = int(buffers.state[STOPPED])
        raise CorruptObjectError(
            f"byte {at} of the artifact is not what the encoder writes: {data[at : at + 60]!r}; build it again"
        )
    lists, members = int(buffers.state[LISTS]), int(buffers.state[MEMBERS])
    key_ids, key_ranks = _dictionary(buffers.key_texts)
    member_ids, member_ranks = _dictionary(buffers.member_texts)
    return Rows(
        shape=shape,
        keys=key_ranks[buffers.keys[:lists]],
        offsets=buffers.offsets[: lists + 1],
        members=member_ranks[buffers.members[:members]],
        values=buffers.values[:members] if shape.value else np.zeros(members, np.int64),
        key_ids=key_ids,
        member_ids=member_ids,
    )


def _fixed(shape: Shape) -> JoinedTexts:
    """Return the fixed texts in the order of `BEFORE_KEY` and so on, without the leading comma or bracket."""
    key, member = fixed_texts(shape)
    texts = [text.encode() for text in (key[0][1:], key[1], member[0][1:], member[1])]
    starts = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return JoinedTexts(np.frombuffer(b"".join(texts) + bytes(PADDING), np.uint8), starts)


def _scan_buffers(size: int, starts: Numbers, *, keyed: bool) -> ScanBuffers:
    """Return buffers for the maximum rows and members in `size` bytes. Unused pages cost nothing."""
    lengths = np.diff(starts)
    rows = size // (int(lengths[:2].sum()) + len('""[]},')) + 2 if keyed else 0
    members = size // (int(lengths[2:].sum()) + len('"",')) + 2
    return ScanBuffers(
        keys=np.empty(rows, np.uint32),
        offsets=np.empty(max(rows, 1) + 1, np.int64),
        members=np.empty(members, np.uint32),
        values=np.empty(members, np.int64),
        key_texts=new_tables(1, capacity=max(rows, 1), text_bytes=size + PADDING),
        member_texts=new_tables(1, capacity=members, text_bytes=size + PADDING),
        state=np.zeros(3, np.int64),
    )


def _dictionary(tables: Tables) -> tuple[pl.Series, Codes]:
    """Return the distinct ids, ascending, and the rank of each code."""
    count, size = int(tables.state[0, 0]), int(tables.state[0, 2])
    starts = np.append(tables.spans[0, :count, 0], size)
    texts = _unescaped(starts, tables.text[:size].tobytes())
    if texts.is_sorted():
        return texts, np.arange(count, dtype=np.uint32)
    order = texts.arg_sort()
    ranks = np.empty(count, np.uint32)
    ranks[order.to_numpy()] = np.arange(count, dtype=np.uint32)
    return texts.gather(order), ranks


def _unescaped(starts: Numbers, data: bytes) -> pl.Series:
    """Return the unescaped strings. Raises `CorruptObjectError` for those the encoder would write differently."""
    array = pa.LargeStringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(data))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise CorruptObjectError(f"an id of the artifact is not UTF-8 ({error}): build it again") from error
    literals = pl.Series(array, dtype=pl.String)
    if not contains_special(data):
        return literals
    special = needs_escape(literals)
    if not special.any():
        return literals
    unescaped = [unquote(f'"{literal}"') for literal in literals.filter(special)]
    if None in unescaped:
        wrong = literals.filter(special)[unescaped.index(None)]
        raise CorruptObjectError(f"the id {wrong[:80]!r} is not escaped as the encoder does: build it again")
    return literals.scatter(special.arg_true(), pl.Series(unescaped, dtype=pl.String))
