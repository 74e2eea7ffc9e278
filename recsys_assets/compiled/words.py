"""The machine's widest loads for compiled code: 8 bytes as a word to hash, 32 as a vector to search, compare and copy.

Every array that is passed must have `part.PADDING` readable bytes behind the last position asked for. Words are
little-endian, as on every machine that numba compiles for.
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
_WIDTH = 32  # of a vector, in bytes

_VECTORS = "recsys_assets.compiled.simd"
byte_at: Any = borrowed(_VECTORS, "byte_at")
load_word: Any = borrowed(_VECTORS, "load_word")
find_special: Any = borrowed(_VECTORS, "find_special")
find_newlines: Any = borrowed(_VECTORS, "find_newlines")
lowest_bit: Any = borrowed(_VECTORS, "lowest_bit")
matching_bytes: Any = borrowed(_VECTORS, "matching_bytes")
copy_vector: Any = borrowed(_VECTORS, "copy_vector")


@inlined
def hash_bytes(data: Bytes, start: int, length: int) -> np.uint64:
    """Return 64 well-mixed bits of `data[start : start + length]`, the same for the same bytes on every run."""
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
    """Return whether two spans of `length` bytes are the same."""
    offset = 0
    while offset < length:
        same = matching_bytes(first, start + offset, second, other_start + offset)
        if same < min(_WIDTH, length - offset):
            return False
        offset += _WIDTH
    return True


@inlined
def copy_bytes(source: Bytes, start: int, target: Bytes, position: int, length: int) -> None:
    """Copy a span; up to a vector's width of bytes behind its end in `target` is overwritten too."""
    offset = 0
    while offset < length:
        copy_vector(source, start + offset, target, position + offset)
        offset += _WIDTH
