"""An array that grows at its end, for columns whose length is known only when all is read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
