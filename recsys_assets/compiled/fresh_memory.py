"""Memory straight from the system: all zero, and taken up page by page as it is written to, however large it is.

`bytearray` and, for what the allocator holds already, `numpy.zeros` write every byte first: for a small day that was
more work than reading its lines.
"""

import math
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALL = 1 << 20  # bytes: fewer are sooner written than asked of the system


def fresh_bytes(size: int) -> mmap:
    """Return `size` zero bytes, one or more, that can be sliced, searched and written like a `bytearray`."""
    return mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)


def fresh_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Return an array of zeros."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.zeros(shape, dtype) if size < _SMALL else np.frombuffer(fresh_bytes(size), dtype).reshape(shape)
