"""Arrays of compiled code: strings as contiguous UTF-8, types of codes and numbers, memory mapped from the system."""

import math
from collections.abc import Iterable
from itertools import pairwise
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Numbers = NDArray[np.int64]
PADDING = 32  # bytes after the last string, so that compiled code may load whole words and vectors
_SMALL = 1 << 20  # Bytes. Zeroing fewer is faster than mapping them.


class Strings(msgspec.Struct, frozen=True, eq=False):
    """Strings as contiguous UTF-8: string `n` is `data[offsets[n] : offsets[n + 1]]`.

    `data` (uint8) has at least `PADDING` bytes after the last string. `offsets` (int64) has one element more than there
    are strings.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Strings":
        """Encode `texts`, in their order."""
        encoded = [text.encode() for text in texts]
        data = np.frombuffer(b"".join(encoded) + bytes(PADDING), np.uint8)
        return cls(data, offsets_of(np.fromiter(map(len, encoded), np.int64, len(encoded))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def texts(self) -> list[str]:
        """Return the strings as Python strings."""
        return [self.data[start:end].tobytes().decode() for start, end in pairwise(self.offsets.tolist())]


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets (int64) of consecutive strings or lists of these lengths, and the end of the last one."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view, because code is compiled separately for read-only and writable arrays.

    Polars returns a read-only array for a column with one chunk, and a writable copy for one with several chunks.
    """
    view = values.view()
    view.flags.writeable = False
    return view


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
