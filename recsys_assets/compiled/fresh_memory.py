"""Arrays in memory straight from the system, all zero until written to, and arrays that grow at their end."""

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


class Growing:
    """Numbers of one dtype in one piece of memory, so that letting go of what came in gives memory back."""

    def __init__(self, dtype: type[np.generic], *, room: int = 0) -> None:
        self._room: NDArray[Any] = np.empty(room, dtype)
        self._size = 0

    def append(self, values: NDArray[Any]) -> None:
        """Put `values` behind what is there."""
        end = self._size + len(values)
        if end > len(self._room):
            # Room that is not written yet takes address space only.
            room = np.empty(end + end // 2, self._room.dtype)
            room[: self._size] = self._room[: self._size]
            self._room = room
        self._room[self._size : end] = values
        self._size = end

    def array(self) -> NDArray[Any]:
        """Return all that was put in; it shares memory with this, which must not grow any more."""
        return self._room[: self._size]
