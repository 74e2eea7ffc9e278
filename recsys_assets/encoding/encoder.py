"""Compiled encoder of rows to JSON: computes the exact size first, then writes every byte once, without strings."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys_assets.artifact_format import SPECIAL_CHARACTERS, quote
from recsys_assets.compiled.arrays import PADDING, Codes, Numbers
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import Bytes, copy_bytes
from recsys_assets.encoding.rows import Rows
from recsys_assets.kind_descriptions import Shape

BLOCK_MEMBERS = 1 << 16  # members per block, hashed while still in the processor's cache
_OPEN, _CLOSE, _COMMA, _POINT, _ZERO, _BRACE = (ord(char) for char in "[],.0}")
_TEN = 10
_SPECIAL_BYTES = bytes(range(0x20)) + b'"\\<>&\xe2'  # U+2028 and U+2029 begin with the last


class JoinedTexts(NamedTuple):
    """Concatenated texts. Text `n` is `data[starts[n] : starts[n + 1]]`. `PADDING` bytes follow the last text."""

    data: Bytes
    starts: Numbers


def quote_ids(ids: pl.Series, *, before: str, after: str) -> JoinedTexts:
    """Return the JSON literal of every id, with a fixed text before and after."""
    texts = ids.to_frame("id").select(pl.concat_str(pl.lit(f'{before}"'), "id", pl.lit(f'"{after}'))).to_series()
    data = ids.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()[2]
    if data is not None and contains_special(data.to_pybytes()):
        special = needs_escape(ids)
        escaped = [f"{before}{quote(text)}{after}" for text in ids.filter(special)]
        texts = texts.scatter(special.arg_true(), pl.Series(escaped, dtype=pl.String))
    padded = pl.concat([texts, pl.Series([" " * PADDING], dtype=pl.String)])
    array = padded.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, starts, data = array.buffers()
    return JoinedTexts(np.frombuffer(data, np.uint8), np.frombuffer(starts, np.int64)[: len(ids) + 1])


def needs_escape(texts: pl.Series) -> pl.Series:
    """Return for each text whether it contains characters to escape in JSON (Boolean)."""
    return texts.str.contains(SPECIAL_CHARACTERS)


def contains_special(data: bytes) -> bool:
    """Return whether UTF-8 texts may contain characters to escape in JSON. False is certain, and found at once."""
    return len(data.translate(None, _SPECIAL_BYTES)) != len(data)


class Body(NamedTuple):
    """Rows as input of compiled code: the lists, and the text of each id up to its value or its list.

    The text of every entry and row starts with the comma that separates it from the one before. The first in an array
    gets the array's bracket instead.
    """

    keys: Codes
    offsets: Numbers
    members: Codes
    values: Numbers
    key_texts: JoinedTexts
    member_texts: JoinedTexts
    scale: int  # 0: members have no value


def prepare(rows: Rows) -> Body:
    """Return rows prepared for `body_size` and `write_body`."""
    shape = rows.shape
    key_texts, member_texts = fixed_texts(shape)
    return Body(
        rows.keys,
        rows.offsets,
        rows.members,
        rows.values,
        quote_ids(rows.key_ids, before=key_texts[0], after=key_texts[1]),
        quote_ids(rows.member_ids, before=member_texts[0], after=member_texts[1]),
        shape.scale if shape.value else 0,
    )


def fixed_texts(shape: Shape) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the texts before and after the id of a row, and before and after the id of a member."""
    row = (f',{{"{shape.key}":', f',"{shape.entries}":') if shape.key else ("", "")
    member = (f',{{"{shape.member}":', f',"{shape.value}":') if shape.value else (",", "")
    return row, member


def body_size(body: Body) -> int:
    """Return the size in bytes of the body's array, including brackets."""
    if not len(body.offsets) - 1:
        return len("[]")
    return int(_measure(body)) + (len("]") if len(body.keys) else 0)


def write_body(body: Body, out: Bytes, start: int) -> Iterator[int]:
    """Write the body's array to `out` from `start` on. Yields the end of each block.

    `out` must have `PADDING` bytes of space after the array.
    """
    lists = len(body.offsets) - 1
    at, first = start, 0
    while first < lists:
        last = max(first + 1, int(np.searchsorted(body.offsets, body.offsets[first] + BLOCK_MEMBERS, side="right")) - 1)
        at = int(_write(body, first, last, out, at))
        if first == 0:
            out[start] = _OPEN
        first = last
        yield at
    if len(body.keys) or not lists:
        closing = b"]" if lists else b"[]"
        out[at : at + len(closing)] = np.frombuffer(closing, np.uint8)
        yield at + len(closing)


@compiled
def _measure(body: Body) -> int:
    """Return the size of all lists, including their rows."""
    total = np.int64(0)
    keyed = len(body.keys) > 0
    starts = body.member_texts.starts
    for n in range(len(body.offsets) - 1):
        if keyed:
            key = body.keys[n]
            total += body.key_texts.starts[key + 1] - body.key_texts.starts[key] + 1
        total += 1 if body.offsets[n + 1] > body.offsets[n] else 2
        for position in range(body.offsets[n], body.offsets[n + 1]):
            member = body.members[position]
            total += starts[member + 1] - starts[member]
            if body.scale:
                total += _number_length(body.values[position], body.scale) + 1
    return int(total)


@compiled
def _write(body: Body, first: int, last: int, out: Bytes, at: int) -> int:
    """Write the lists from `first` up to `last`. Returns the position after them."""
    keyed = len(body.keys) > 0
    for n in range(first, last):
        if keyed:
            at = _write_text(body.key_texts, body.keys[n], out, at)
        opening = at
        for position in range(body.offsets[n], body.offsets[n + 1]):
            at = _write_text(body.member_texts, body.members[position], out, at)
            if body.scale:
                at = _write_number(body.values[position], body.scale, out, at)
                out[at] = _BRACE
                at += 1
        out[opening] = _OPEN
        at = max(at, opening + 1)
        out[at] = _CLOSE
        at += 1
        if keyed:
            out[at] = _BRACE
            at += 1
    return at


@inlined
def _write_text(texts: JoinedTexts, code: int, out: Bytes, at: int) -> int:
    start, length = texts.starts[code], texts.starts[code + 1] - texts.starts[code]
    copy_bytes(texts.data, start, out, at, length)
    return at + length


@inlined
def _number_length(value: int, scale: int) -> int:
    whole, part = value // scale, value % scale
    length = 1
    while whole >= _TEN:
        whole //= _TEN
        length += 1
    length += 1 if part else 0
    while part:
        part = part * _TEN % scale
        length += 1
    return length


@inlined
def _write_number(value: int, scale: int, out: Bytes, at: int) -> int:
    """Write a number of 1 / `scale` units in its shortest decimal form. Returns the position after it."""
    whole, part = value // scale, value % scale
    end, rest = at + 1, whole
    while rest >= _TEN:
        rest //= _TEN
        end += 1
    for position in range(end - 1, at - 1, -1):
        out[position] = _ZERO + whole % _TEN
        whole //= _TEN
    if part:
        out[end] = _POINT
        end += 1
    while part:
        part *= _TEN
        out[end] = _ZERO + part // scale
        part %= scale
        end += 1
    return end
