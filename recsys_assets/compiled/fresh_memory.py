"""Zeroed arrays in memory that is mapped directly from the system, and arrays that grow at their end."""

import math
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SMALL = 1 << 20  # Bytes. Zeroing fewer is faster than mapping them.


def fresh_bytes(size: int) -> mmap:
    """Return `size` (at least 1) zero bytes that can be sliced, searched and written like a `bytearray`."""
    return mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)


def fresh_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Return an array of zeros. Pages of large arrays only take memory once they are written."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.zeros(shape, dtype) if size < _SMALL else np.frombuffer(fresh_bytes(size), dtype).reshape(shape)


class Growing:
    """Growing array of one dtype in a single block, so that releasing the appended arrays frees their memory."""

    def __init__(self, dtype: type[np.generic], *, room: int = 0) -> None:
        self._buffer: NDArray[Any] = np.empty(room, dtype)
        self._size = 0

    def append(self, values: NDArray[Any]) -> None:
        """Append `values`."""
        end = self._size + len(values)
        if end > len(self._buffer):
            # Capacity that is not written yet takes address space only.
            larger = np.empty(end + end // 2, self._buffer.dtype)
            larger[: self._size] = self._buffer[: self._size]
            self._buffer = larger
        self._buffer[self._size : end] = values
        self._size = end

    def array(self) -> NDArray[Any]:
        """Return all appended values. The array shares memory with this object, which must no longer grow."""
        return self._buffer[: self._size]
