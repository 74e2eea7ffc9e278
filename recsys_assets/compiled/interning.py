"""Distinct byte strings to codes in order of appearance: open hash tables, compiled.

States of a slot: empty (0), or taken by a code; a taken slot is never freed but by `clear`, so that probing from a
hash's home slot onwards meets every string with that hash before the first empty slot. A lookup therefore ends at an
equal string (its code) or at an empty slot (`_add`). The table doubles once more than half of its slots are taken, so
an empty slot always exists and the loop ends.

Bounds. `slot & mask` is among the slots in use, and the mask never exceeds the slots that exist: they are at least
twice the capacity in codes, and `_add` answers `FULL` at that capacity, or when the text would not fit with the padding
that copying by vectors may overwrite. A refused string changes nothing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.fresh_memory import fresh_zeros
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.strings import PADDING
from recsys_assets.compiled.words import Bytes, copy_bytes, equal_bytes, hash_bytes

FULL = -1
_COUNT, _MASK, _TEXT = 0, 1, 2
_FIRST_SLOTS = 1024
_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)


class Tables(NamedTuple):
    """Distinct strings in one or more tables: the first index of each array but `text` is the table.

    `slots` hold half a hash (high) and code + 1 (low), or 0 where empty; `spans[table, code]` is where a string starts
    in `text`, how long it is, and its half hash; `state` holds the number of codes, the mask of the slots in use (a
    table begins small, so that it stays in the cache, and doubles), and, for table 0, the bytes of `text` in use.
    Strings are copied to `text` when they are new, so that comparing with them stays in the cache too.
    """

    slots: NDArray[np.uint64]
    spans: NDArray[np.int64]
    state: NDArray[np.int64]
    text: Bytes


def new_tables(count: int, *, capacity: int, text_bytes: int) -> Tables:
    """Return empty tables for `capacity` strings each, of `text_bytes` together; they take memory as they fill."""
    slots = max(_FIRST_SLOTS, 1 << (2 * capacity - 1).bit_length())
    return Tables(
        fresh_zeros((count, slots), np.uint64),
        np.empty((count, capacity, 3), np.int64),
        np.array([[0, _FIRST_SLOTS - 1, 0]] * count),
        np.empty(text_bytes + 2 * PADDING, np.uint8),
    )


def grown(tables: Tables, *, capacity: int, text_bytes: int) -> Tables:
    """Return one table with the strings of `tables`, under the same codes, and with room for more."""
    new = new_tables(1, capacity=capacity, text_bytes=text_bytes)
    count, _, size = tables.state[0].tolist()
    new.spans[0, :count] = tables.spans[0, :count]
    new.text[:size] = tables.text[:size]
    mask = max(_FIRST_SLOTS, 1 << (2 * count + 1).bit_length()) - 1
    new.state[0] = count, min(mask, new.slots.shape[1] - 1), size
    _fill(new, 0)
    return new


@compiled
def clear(tables: Tables) -> None:
    """Forget every string."""
    for table in range(len(tables.state)):
        for slot in range(tables.state[table, _MASK] + 1):
            tables.slots[table, slot] = 0
        tables.state[table, _COUNT] = 0
        tables.state[table, _MASK] = _FIRST_SLOTS - 1
        tables.state[table, _TEXT] = 0


@inlined
def intern(tables: Tables, table: int, data: Bytes, start: int, length: int) -> int:
    """Return the code of `data[start : start + length]`, a new one for a new string; `FULL` if there is no room."""
    mark = hash_bytes(data, start, length) >> _HALF
    mask = tables.state[table, _MASK]
    slot = np.int64(mark) & mask
    while tables.slots[table, slot] != 0:
        found = tables.slots[table, slot]
        code = np.int64(found & _LOW) - 1
        same = found >> _HALF == mark and tables.spans[table, code, 1] == length
        if same and equal_bytes(data, start, tables.text, tables.spans[table, code, 0], length):
            return int(code)
        slot = (slot + 1) & mask
    return _add(tables, table, data, start, length, mark, slot)


@compiled
def _add(tables: Tables, table: int, data: Bytes, start: int, length: int, mark: np.uint64, slot: int) -> int:
    code = tables.state[table, _COUNT]
    place = tables.state[0, _TEXT]
    if code == tables.spans.shape[1] or place + length + 2 * PADDING > len(tables.text):
        return FULL
    copy_bytes(data, start, tables.text, place, length)
    tables.state[0, _TEXT] = place + length
    tables.spans[table, code, 0] = place
    tables.spans[table, code, 1] = length
    tables.spans[table, code, 2] = mark
    tables.slots[table, slot] = mark << _HALF | np.uint64(code + 1)
    tables.state[table, _COUNT] = code + 1
    if 2 * code > tables.state[table, _MASK]:
        _double(tables, table)
    return int(code)


@compiled
def _double(tables: Tables, table: int) -> None:
    mask = 2 * tables.state[table, _MASK] + 1
    tables.state[table, _MASK] = mask
    for slot in range(mask + 1):
        tables.slots[table, slot] = 0
    _fill(tables, table)


@compiled
def _fill(tables: Tables, table: int) -> None:
    """Put every code into the slots, which are empty."""
    mask = tables.state[table, _MASK]
    for code in range(tables.state[table, _COUNT]):
        mark = np.uint64(tables.spans[table, code, 2])
        slot = np.int64(mark) & mask
        while tables.slots[table, slot] != 0:
            slot = (slot + 1) & mask
        tables.slots[table, slot] = mark << _HALF | np.uint64(code + 1)
