"""Wide loads for compiled code: words of 8 bytes to hash, and vectors of 32 bytes to search, compare and copy.

Every array must have `arrays.PADDING` readable bytes after the last position that is used. Words are little-endian, as
on every machine that numba compiles for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.runtime import borrowed, inlined

Bytes = NDArray[np.uint8]

# WORD_MASKS[n] keeps the first n bytes of a word.
WORD_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=np.uint64)
_MULTIPLIER = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 / golden ratio: spreads low bits over high ones
_HALF = np.uint64(32)
_WIDTH = 32  # width of a vector, in bytes

_INTRINSICS = "recsys_assets.compiled.intrinsics"
byte_at: Any = borrowed(_INTRINSICS, "byte_at")
load_word: Any = borrowed(_INTRINSICS, "load_word")
find_special: Any = borrowed(_INTRINSICS, "find_special")
find_newlines: Any = borrowed(_INTRINSICS, "find_newlines")
lowest_bit: Any = borrowed(_INTRINSICS, "lowest_bit")
matching_bytes: Any = borrowed(_INTRINSICS, "matching_bytes")
copy_vector: Any = borrowed(_INTRINSICS, "copy_vector")


@inlined
def hash_bytes(data: Bytes, start: int, length: int) -> np.uint64:
    """Return a 64-bit hash of `data[start : start + length]`. Equal bytes have the same hash in every process."""
    mixed = np.uint64(length) * _MULTIPLIER
    offset = 0
    while offset < length:
        word = load_word(data, start + offset) & WORD_MASKS[min(8, length - offset)]
        mixed = (mixed ^ word) * _MULTIPLIER
        mixed ^= mixed >> _HALF
        offset += 8
    return mixed


@inlined
def equal_bytes(first: Bytes, start: int, second: Bytes, other_start: int, length: int) -> bool:
    """Return whether two spans of `length` bytes are equal."""
    offset = 0
    while offset < length:
        same = matching_bytes(first, start + offset, second, other_start + offset)
        if same < min(_WIDTH, length - offset):
            return False
        offset += _WIDTH
    return True


@inlined
def copy_bytes(source: Bytes, start: int, target: Bytes, position: int, length: int) -> None:
    """Copy a span. Up to 32 bytes after its end in `target` are overwritten too."""
    offset = 0
    while offset < length:
        copy_vector(source, start + offset, target, position + offset)
        offset += _WIDTH
