"""Bytes that come in pieces of any size, handed out as a reader has room."""

from collections.abc import Iterator


class Pieces:
    """Pieces one behind the other, each asked for when the one before is used up."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` and return how many bytes; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
