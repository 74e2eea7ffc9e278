"""Strings as one run of UTF-8 with offsets, and the array types of codes and numbers that compiled code takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Numbers = NDArray[np.int64]
PADDING = 32  # bytes behind the last string, so that compiled code may load whole words and vectors


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """Strings as one run of UTF-8: string `n` is `data[offsets[n] : offsets[n + 1]]`.

    `data`: uint8, with at least `PADDING` bytes behind the last string; `offsets`: int64, one more than strings.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Strings":
        """Return `texts` in their order."""
        encoded = [text.encode() for text in texts]
        data = np.frombuffer(b"".join(encoded) + bytes(PADDING), np.uint8)
        return cls(data, offsets_of(np.fromiter(map(len, encoded), np.int64, len(encoded))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def texts(self) -> list[str]:
        """Return the strings as Python has them."""
        return [self.data[start:end].tobytes().decode() for start, end in pairwise(self.offsets.tolist())]


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where strings of these lengths start when they lie one behind the other, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return a view that is not to be written to: compiled code is made for one of the two.

    Polars gives a column of one chunk so, and of several chunks a copy that may be written to.
    """
    view = values.view()
    view.flags.writeable = False
    return view
