"""Strings as contiguous UTF-8 with offsets, and the array types of codes and numbers for compiled code."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Numbers = NDArray[np.int64]
PADDING = 32  # bytes after the last string, so that compiled code may load whole words and vectors


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
