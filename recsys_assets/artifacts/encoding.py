"""Rows to JSON bytes, compiled: the exact size first, then every byte once, no intermediate strings."""

import numpy as np
from numba import njit

from recsys_assets.artifacts.escaping import Bytes, quote_ids
from recsys_assets.artifacts.rows import Numbers, Rows, Shape

MAX_SCALE_DIGITS = 6


def body_size(rows: Rows) -> int:
    """Return how many bytes `write_body` writes."""
    pieces, bounds = pieces_of(rows.shape)
    _, key_starts = quote_ids(rows.key_ids)
    _, item_starts = quote_ids(rows.member_ids)
    return int(
        _size(
            rows.keys,
            rows.offsets,
            rows.members,
            rows.values,
            np.diff(key_starts),
            np.diff(item_starts),
            np.diff(bounds),
            rows.shape.scale,
            rows.shape.value is not None,
        ),
    )


def write_body(rows: Rows, out: Bytes) -> None:
    """Write the rows, without the brackets around them, to `out`, which `body_size` measured."""
    pieces, bounds = pieces_of(rows.shape)
    key_bytes, key_starts = quote_ids(rows.key_ids)
    item_bytes, item_starts = quote_ids(rows.member_ids)
    _write(
        rows.keys,
        rows.offsets,
        rows.members,
        rows.values,
        key_bytes,
        key_starts,
        item_bytes,
        item_starts,
        pieces,
        bounds,
        rows.shape.scale,
        rows.shape.value is not None,
        out,
    )


def pieces_of(shape: Shape) -> tuple[Bytes, Numbers]:
    """Return the fixed texts of a shape: row open, after key, row close, item open, after id, item close."""
    row = (f'{{"{shape.key}":', f',"{shape.entries}":[', "]}") if shape.key else ("", "", "")
    item = (f'{{"{shape.member}":', f',"{shape.value}":', "}") if shape.value else ("", "", "")
    texts = [text.encode() for text in (*row, *item)]
    bounds = np.cumsum([0, *(len(text) for text in texts)], dtype=np.int64)
    return np.frombuffer(b"".join(texts), np.uint8), bounds


@njit(cache=True, nogil=True)
def _size(keys, offsets, items, values, key_lengths, item_lengths, piece_lengths, scale, valued):  # noqa: ANN001, ANN202, PLR0913, PLR0917  # pyright: ignore[reportMissingParameterType]
    rows = len(offsets) - 1
    keyed = len(keys) == rows and piece_lengths[0] > 0
    total = np.int64(0)
    for row in range(rows):
        if keyed:
            total += key_lengths[keys[row]] + piece_lengths[0] + piece_lengths[1] + piece_lengths[2]
        count = offsets[row + 1] - offsets[row]
        total += max(count - 1, 0) + count * (piece_lengths[3] + piece_lengths[4] + piece_lengths[5])
        for at in range(offsets[row], offsets[row + 1]):
            total += item_lengths[items[at]]
            if valued:
                total += _number_length(values[at], scale)
    return total + max(rows - 1, 0)


@njit(cache=True, nogil=True)
def _write(  # noqa: ANN202, PLR0913, PLR0917
    keys,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    offsets,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    items,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    values,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    key_bytes,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    key_starts,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    item_bytes,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    item_starts,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    pieces,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    bounds,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    scale,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    valued,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
    out,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]
):
    at = 0
    rows = len(offsets) - 1
    keyed = len(keys) == rows and bounds[1] > bounds[0]
    for row in range(rows):
        if row:
            out[at] = 44
            at += 1
        if keyed:
            key = keys[row]
            at = _copy(out, at, pieces, bounds[0], bounds[1])
            at = _copy(out, at, key_bytes, key_starts[key], key_starts[key + 1])
            at = _copy(out, at, pieces, bounds[1], bounds[2])
        for n in range(offsets[row], offsets[row + 1]):
            if n > offsets[row]:
                out[at] = 44
                at += 1
            item = items[n]
            at = _copy(out, at, pieces, bounds[3], bounds[4])
            at = _copy(out, at, item_bytes, item_starts[item], item_starts[item + 1])
            at = _copy(out, at, pieces, bounds[4], bounds[5])
            if valued:
                at = _write_number(out, at, values[n], scale)
            at = _copy(out, at, pieces, bounds[5], bounds[6])
        if keyed:
            at = _copy(out, at, pieces, bounds[2], bounds[3])
    return at


@njit(cache=True, nogil=True, inline="always")
def _copy(out, at, source, start, stop):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    for n in range(start, stop):
        out[at] = source[n]
        at += 1
    return at


@njit(cache=True, nogil=True)
def _number_length(value, scale):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    whole, part = value // scale, value % scale
    length = 1
    while whole >= 10:  # noqa: PLR2004 - decimal digits
        whole //= 10
        length += 1
    if part:
        length += 1
        while part:
            part = part * 10 % scale
            length += 1
    return length


@njit(cache=True, nogil=True)
def _write_number(out, at, value, scale):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    """Write a non-negative number of 1 / `scale` units in its shortest decimal form."""
    whole, part = value // scale, value % scale
    end = at + 1
    rest = whole
    while rest >= 10:  # noqa: PLR2004 - decimal digits
        rest //= 10
        end += 1
    place = end
    while place > at:
        place -= 1
        out[place] = 48 + whole % 10
        whole //= 10
    if part:
        out[end] = 46
        end += 1
        while part:
            part *= 10
            out[end] = 48 + part // scale
            part %= scale
            end += 1
    return end
