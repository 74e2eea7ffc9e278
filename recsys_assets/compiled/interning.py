"""Mapping of distinct byte strings to codes in order of appearance, by open-addressing hash tables. Compiled.

Invariant of probing: a slot is empty (0) or taken by a code, and only `clear` frees a taken slot. So probing from the
home slot of a hash finds every string with that hash before the first empty slot, and a lookup ends at an equal string
(its code) or at an empty slot (`_add`). The table doubles once more than half of its slots are taken. So an empty slot
always exists, and the loop terminates.

Bounds: `slot & mask` is a slot in use, and the mask never exceeds the existing slots, which are at least twice the
capacity in codes. `_add` returns `FULL` at that capacity, or if the text would not fit with the padding that copying by
vectors may overwrite. A rejected string changes nothing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import PADDING, fresh_zeros
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.compiled.words import Bytes, copy_bytes, equal_bytes, hash_bytes

FULL = -1
_COUNT, _MASK, _TEXT = 0, 1, 2
_FIRST_SLOTS = 1024
_LOW = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)


class Tables(NamedTuple):
    """Distinct strings in one or more tables. The first index of every array except `text` is the table.

    - `slots`: the upper half of the hash (high bits) and code + 1 (low bits), or 0 if empty.
    - `spans[table, code]`: start of the string in `text`, its length, and its half hash.
    - `state`: number of codes, mask of the slots in use and, for table 0, the bytes of `text` in use. A table starts
      small, so that it fits into the processor's cache, and doubles.
    - `text`: copies of the distinct strings, so that comparisons stay in the cache too.
    """

    slots: NDArray[np.uint64]
    spans: NDArray[np.int64]
    state: NDArray[np.int64]
    text: Bytes


def new_tables(count: int, *, capacity: int, text_bytes: int) -> Tables:
    """Return `count` empty tables for `capacity` strings each, of `text_bytes` in total. Memory grows as they fill."""
    slots = max(_FIRST_SLOTS, 1 << (2 * capacity - 1).bit_length())
    return Tables(
        fresh_zeros((count, slots), np.uint64),
        np.empty((count, capacity, 3), np.int64),
        np.array([[0, _FIRST_SLOTS - 1, 0]] * count),
        np.empty(text_bytes + 2 * PADDING, np.uint8),
    )


def grown(tables: Tables, *, capacity: int, text_bytes: int) -> Tables:
    """Return a table with the strings and codes of table 0 of `tables`, and with a larger capacity."""
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
    """Remove all strings from all tables."""
    for table in range(len(tables.state)):
        for slot in range(tables.state[table, _MASK] + 1):
            tables.slots[table, slot] = 0
        tables.state[table, _COUNT] = 0
        tables.state[table, _MASK] = _FIRST_SLOTS - 1
        tables.state[table, _TEXT] = 0


@inlined
def intern(tables: Tables, table: int, data: Bytes, start: int, length: int) -> int:
    """Return the code of `data[start : start + length]`, a new one for a new string. `FULL` if no space is left."""
    half_hash = hash_bytes(data, start, length) >> _HALF
    mask = tables.state[table, _MASK]
    slot = np.int64(half_hash) & mask
    while tables.slots[table, slot] != 0:
        entry = tables.slots[table, slot]
        code = np.int64(entry & _LOW) - 1
        same = entry >> _HALF == half_hash and tables.spans[table, code, 1] == length
        if same and equal_bytes(data, start, tables.text, tables.spans[table, code, 0], length):
            return int(code)
        slot = (slot + 1) & mask
    return _add(tables, table, data, start, length, half_hash, slot)


@compiled
def _add(tables: Tables, table: int, data: Bytes, start: int, length: int, half_hash: np.uint64, slot: int) -> int:
    code = tables.state[table, _COUNT]
    position = tables.state[0, _TEXT]
    if code == tables.spans.shape[1] or position + length + 2 * PADDING > len(tables.text):
        return FULL
    copy_bytes(data, start, tables.text, position, length)
    tables.state[0, _TEXT] = position + length
    tables.spans[table, code, 0] = position
    tables.spans[table, code, 1] = length
    tables.spans[table, code, 2] = half_hash
    tables.slots[table, slot] = half_hash << _HALF | np.uint64(code + 1)
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
    """Insert every code into the slots, which must be empty."""
    mask = tables.state[table, _MASK]
    for code in range(tables.state[table, _COUNT]):
        half_hash = np.uint64(tables.spans[table, code, 2])
        slot = np.int64(half_hash) & mask
        while tables.slots[table, slot] != 0:
            slot = (slot + 1) & mask
        tables.slots[table, slot] = half_hash << _HALF | np.uint64(code + 1)
