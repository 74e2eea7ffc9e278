"""The log of a hierarchy: numbered entries, each written once, chained by hash, and sealed into larger segments."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
import zstandard

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, create_document, decode, find_stored
from recsys_assets.release.layout import tree_log_key, tree_segment_key
from recsys_assets.storage.store import ObjectStore
from recsys_assets.trees.documents import TreeEntry

FAN: Final = 16  # a segment holds so many of the level below
LEVELS: Final = 4  # the largest holds 65,536 entries
_MAX_SEGMENT_BYTES: Final = 2_000_000_000
_FIRST: Final = hashlib.sha256(b"").hexdigest()  # what the first entry names as the one before it


@dataclass(slots=True)
class TreeLog:
    """A reader and writer of one hierarchy's log that remembers how far it has read.

    An entry is the commit point of every change: whoever creates the next number wins, and whoever does not reads the
    winner's entry and judges again. Segments are derived from entries, so it does not matter who writes them, or
    whether: they only spare a reader the single entries, of which it reads at most 15 and the tail.
    """

    store: ObjectStore
    hierarchy: str
    sequence: int = 0
    _digest: str = _FIRST
    _unsealed: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def new_entries(self) -> Iterator[TreeEntry]:
        """Yield every entry after the last one that was read; `CorruptObjectError` where the chain breaks."""
        while True:
            key = tree_log_key(self.hierarchy, self.sequence + 1)
            single = find_stored(self.store, key)
            if single is None:
                return
            level, lines = self._largest_segment()
            for line in lines or [single.data]:
                yield self._take(line, name=key)
            self._note_unsealed(level)

    def read(self, sequence: int) -> TreeEntry:
        """Return one entry by its number."""
        key = tree_log_key(self.hierarchy, sequence)
        line = self._line(sequence)
        if line is None:
            raise CorruptObjectError(f"{key} is lost: restore it from a backup")
        return decode(line, TreeEntry, name=key)

    def stands(self) -> bool:
        """Return whether the last entry that was read is there still: not so in a store that was restored meanwhile."""
        if self.sequence == 0:
            return True
        last = self._line(self.sequence)
        return last is not None and hashlib.sha256(last).hexdigest() == self._digest

    def append(self, entry: TreeEntry) -> bool:
        """Write an entry under the next number, and return whether it won; if not, there are new entries to read.

        Raises `CorruptObjectError` if the one after it is there already: then an entry was lost, and its number is not
        given again.
        """
        next_key, after = (tree_log_key(self.hierarchy, self.sequence + n) for n in (1, 2))
        if self.store.stat(after) is not None:
            if self.store.stat(next_key) is not None:
                return False
            raise CorruptObjectError(f"{next_key} is lost, for {after} is there: restore it from a backup")
        numbered = msgspec.structs.replace(entry, sequence=self.sequence + 1, previous=self._digest)
        try:
            create_document(self.store, next_key, numbered)
        except ConflictError:
            return False
        return True

    def seal(self) -> None:
        """Write the segments that were found missing: readers to come are spared the single entries."""
        for level, number in sorted(self._unsealed):
            self._segment(level, number, write=True)
        self._unsealed.clear()

    def _line(self, sequence: int) -> bytes | None:
        """Return an entry as it is stored: by itself or, in a copy that was made meanwhile, in a segment alone."""
        single = find_stored(self.store, tree_log_key(self.hierarchy, sequence))
        if single is not None:
            return single.data
        for level in range(1, LEVELS + 1):
            number, place = divmod(sequence - 1, FAN**level)
            key = tree_segment_key(self.hierarchy, level, number)
            sealed = find_stored(self.store, key, max_bytes=_MAX_SEGMENT_BYTES)
            if sealed is not None:
                return self._unpack(sealed.data, level, number)[place]
        return None

    def _take(self, line: bytes, *, name: str) -> TreeEntry:
        entry = decode(line, TreeEntry, name=name)
        if entry.sequence != self.sequence + 1 or entry.previous != self._digest:
            raise CorruptObjectError(
                f"{name}: entry {entry.sequence} does not follow entry {self.sequence} of the log of {self.hierarchy}: "
                "an entry was lost or replaced; restore it from a backup"
            )
        self.sequence, self._digest = entry.sequence, hashlib.sha256(line).hexdigest()
        return entry

    def _largest_segment(self) -> tuple[int, list[bytes]]:
        """Return the level and the entries of the largest segment that begins at the next entry; level 0: none."""
        for level in range(LEVELS, 0, -1):
            size = FAN**level
            if self.sequence % size == 0:
                data = find_stored(
                    self.store,
                    tree_segment_key(self.hierarchy, level, self.sequence // size),
                    max_bytes=_MAX_SEGMENT_BYTES,
                )
                if data is not None:
                    return level, self._unpack(data.data, level, self.sequence // size)
        return 0, []

    def _note_unsealed(self, level: int) -> None:
        """Remember the segments that end here and were not there to be read."""
        for larger in range(level + 1, LEVELS + 1):
            if self.sequence % FAN**larger == 0:
                self._unsealed.add((larger, self.sequence // FAN**larger - 1))

    def _segment(self, level: int, number: int, *, write: bool = False) -> list[bytes]:
        """Return the entries of a segment, put together from smaller ones where it is not there."""
        if level == 0:
            key = tree_log_key(self.hierarchy, number + 1)
            return [self.store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data]
        key = tree_segment_key(self.hierarchy, level, number)
        with suppress(NotFoundError):
            return self._unpack(self.store.get(key, max_bytes=_MAX_SEGMENT_BYTES).data, level, number)
        lines = [line for part in range(FAN) for line in self._segment(level - 1, number * FAN + part)]
        if write:
            with suppress(ConflictError):  # another wrote it meanwhile: from the same entries
                self.store.create(key, zstandard.ZstdCompressor(write_checksum=True).compress(b"\n".join(lines)))
        return lines

    def _unpack(self, data: bytes, level: int, number: int) -> list[bytes]:
        name = tree_segment_key(self.hierarchy, level, number)
        try:
            lines = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_SEGMENT_BYTES).split(b"\n")
        except zstandard.ZstdError as error:
            raise CorruptObjectError(f"{name} cannot be read: {error}; delete it, and it is written again") from error
        if len(lines) != FAN**level:
            raise CorruptObjectError(f"{name} holds {len(lines)} entries, expected {FAN**level}: delete it")
        return lines
