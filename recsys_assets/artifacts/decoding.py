"""A blob's bytes back to rows: strict, so that what is read is exactly what the encoder writes, or refused by offset."""

import json
import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys_assets.artifacts.body_scan import OK, scan_body
from recsys_assets.artifacts.encoding import pieces_of
from recsys_assets.artifacts.escaping import quote
from recsys_assets.artifacts.rows import Codes, Rows, Shape
from recsys_assets.errors import CorruptObjectError
from recsys_assets.raw.interning import Tables, new_tables

_STRING = rb'"((?:[^"\\]|\\.)*)"'
_INSTANT = rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"'
_HEAD = re.compile(
    rb'\{"v":1,"artifact_type":' + _STRING + rb',"tenant":' + _STRING + rb',"surface":' + _STRING + rb","
    rb'(?:"segment":' + _STRING + rb",)?"
    rb'"window":\{"start":' + _INSTANT + rb',"end":' + _INSTANT + rb"\},"
    rb'"([a-z_]+)":\['
)
_TAIL = re.compile(rb'\],"build":\{"built_at":"[^"]*","version":"[0-9a-f]*","source_hash":"[0-9a-f]*"\}\}\Z')
_MAX_TAIL = 300
_MIN_MEMBER = 3  # bytes of the shortest member and its comma: what bounds their number by the size


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a blob says of itself, before its rows."""

    kind: str
    tenant: str
    surface: str
    segment: str | None
    window_start: str
    window_end: str


def decode(data: bytes, shape: Shape) -> tuple[Envelope, Rows]:
    """Return envelope and rows of a blob in the form that `codec.encode` writes.

    Codes of keys and members are positions in ascending dictionaries. Raises `CorruptObjectError` with the offset of
    the first byte that the encoder would not have written; values must be non-negative.
    """
    head = _HEAD.match(data)
    tail = _TAIL.search(data, max(0, len(data) - _MAX_TAIL))
    if head is None or tail is None or head.end() > tail.start() or head.group(7).decode() != shape.body:
        raise CorruptObjectError(f"no artifact with the body {shape.body!r}: {data[:200]!r}; build it again")
    tenant, surface, kind = (_text(head.group(n)) for n in (2, 3, 1))
    segment = _text(head.group(4)) if head.group(4) is not None else None
    start, end = (head.group(n).decode() for n in (5, 6))
    return Envelope(kind, tenant, surface, segment, start, end), _rows(data, head.end(), tail.start(), shape)


def _rows(data: bytes, start: int, stop: int, shape: Shape) -> Rows:
    """Scan the body and put the ids, which come out in order of appearance, into ascending dictionaries."""
    text = np.frombuffer(data, np.uint8)
    room = (stop - start) // _MIN_MEMBER + 2
    keys, members = (new_tables(1, capacity=room, text_bytes=stop - start + 64) for _ in range(2))
    pieces, bounds = pieces_of(shape)
    offsets, row_keys = np.empty(room + 1, np.int64), np.empty(room, np.uint32)
    codes, values = np.empty(room, np.uint32), np.empty(room if shape.value else 1, np.int64)
    state = np.zeros(4, np.int64)
    scan_body(
        text, start, stop, pieces, bounds, bool(shape.key), bool(shape.value), shape.scale,
        keys, members, row_keys, offsets, codes, values, state,
    )  # fmt: skip
    problem, at, rows, count = state.tolist()
    if problem != OK:
        raise CorruptObjectError(f"byte {at} of the artifact is not what the encoder writes: {data[at : at + 60]!r}; build it again")
    key_ids, key_ranks = _dictionary(keys)
    member_ids, member_ranks = _dictionary(members)
    return Rows(
        shape=shape,
        keys=key_ranks[row_keys[:rows]] if shape.key else np.empty(0, np.uint32),
        offsets=offsets[: rows + 1].copy(),
        members=member_ranks[codes[:count]],
        values=values[:count].copy() if shape.value else np.zeros(count, np.int64),
        key_ids=key_ids,
        member_ids=member_ids,
    )


def _dictionary(tables: Tables) -> tuple[pl.Series, Codes]:
    """Return the distinct strings, ascending, and the rank of each code."""
    count = int(tables.state[0, 0])
    spans = tables.spans[0, :count, :2].tolist()
    raw = tables.text[: int(tables.state[0, 2])].tobytes()
    texts = pl.Series([_text(raw[start : start + length]) for start, length in spans], dtype=pl.String)
    order = texts.arg_sort()
    ranks = np.empty(count, np.uint32)
    ranks[order.to_numpy()] = np.arange(count, dtype=np.uint32)
    return texts.gather(order), ranks


def _text(raw: bytes) -> str:
    """Return what a JSON string stands for, if it is written as the encoder writes it."""
    try:
        if b"\\" not in raw and not any(char in raw for char in (b"<", b">", b"&")):
            text = raw.decode()
            if text.isprintable():
                return text
        text = json.loads(b'"' + raw + b'"')
        if quote(text).encode() == b'"' + raw + b'"':
            return text
    except (ValueError, UnicodeEncodeError):
        pass
    raise CorruptObjectError(f"string {raw[:80]!r} is not written as the encoder writes it: build the artifact again")
