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

FAN: Final = 16  # entries or segments of the level below in a segment
LEVELS: Final = 4  # the largest segments contain 65,536 entries
_MAX_SEGMENT_BYTES: Final = 2_000_000_000
_FIRST: Final = hashlib.sha256(b"").hexdigest()  # `previous` of the first entry


@dataclass(slots=True)
class TreeLog:
    """Reader and writer of one hierarchy's log, with the position that it has read to.

    An entry is the commit point of a change: the writer that creates the next number wins, and a loser reads the new
    entry and evaluates its change again. Segments are derived from entries and optional: they spare readers the single
    entries, of which a reader then reads at most 15 and the tail.
    """

    store: ObjectStore
    hierarchy: str
    sequence: int = 0
    _digest: str = _FIRST
    _unsealed: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def new_entries(self) -> Iterator[TreeEntry]:
        """Yield every entry after the last one read. Raises `CorruptObjectError` if the chain is broken."""
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
        """Return one entry by its number. Raises `CorruptObjectError` if it is lost."""
        key = tree_log_key(self.hierarchy, sequence)
        line = self._line(sequence)
        if line is None:
            raise CorruptObjectError(f"{key} is lost: restore it from a backup")
        return decode(line, TreeEntry, name=key)

    def is_intact(self) -> bool:
        """Return whether the last entry read still exists unchanged.

        It does not after the store was restored from a backup.
        """
        if self.sequence == 0:
            return True
        last = self._line(self.sequence)
        return last is not None and hashlib.sha256(last).hexdigest() == self._digest

    def append(self, entry: TreeEntry) -> bool:
        """Write an entry with the next number. Returns False if another writer was first.

        Raises `CorruptObjectError` if the following entry already exists: then an entry was lost, and its number is not
        reused.
        """
        next_key, after = (tree_log_key(self.hierarchy, self.sequence + n) for n in (1, 2))
        if self.store.stat(after) is not None:
            if self.store.stat(next_key) is not None:
                return False
            raise CorruptObjectError(f"{next_key} is lost, because {after} exists: restore it from a backup")
        numbered = msgspec.structs.replace(entry, sequence=self.sequence + 1, previous=self._digest)
        try:
            create_document(self.store, next_key, numbered)
        except ConflictError:
            return False
        return True

    def seal(self) -> None:
        """Write the segments that were missing, so that later readers need not read the single entries."""
        for level, number in sorted(self._unsealed):
            self._segment(level, number, write=True)
        self._unsealed.clear()

    def _line(self, sequence: int) -> bytes | None:
        """Return the bytes of an entry, stored on its own or, in a copy of the store, only in a segment."""
        single = find_stored(self.store, tree_log_key(self.hierarchy, sequence))
        if single is not None:
            return single.data
        for level in range(1, LEVELS + 1):
            number, line = divmod(sequence - 1, FAN**level)
            key = tree_segment_key(self.hierarchy, level, number)
            sealed = find_stored(self.store, key, max_bytes=_MAX_SEGMENT_BYTES)
            if sealed is not None:
                return self._unpack(sealed.data, level, number)[line]
        return None

    def _take(self, line: bytes, *, name: str) -> TreeEntry:
        entry = decode(line, TreeEntry, name=name)
        if entry.sequence != self.sequence + 1 or entry.previous != self._digest:
            raise CorruptObjectError(
                f"{name}: entry {entry.sequence} does not follow entry {self.sequence} in the log of {self.hierarchy}: "
                "an entry was lost or replaced; restore it from a backup"
            )
        self.sequence, self._digest = entry.sequence, hashlib.sha256(line).hexdigest()
        return entry

    def _largest_segment(self) -> tuple[int, list[bytes]]:
        """Return level and entries of the largest segment that starts at the next entry, with level 0 without one."""
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
        """Record the segments that end at this entry and are missing."""
        for larger in range(level + 1, LEVELS + 1):
            if self.sequence % FAN**larger == 0:
                self._unsealed.add((larger, self.sequence // FAN**larger - 1))

    def _segment(self, level: int, number: int, *, write: bool = False) -> list[bytes]:
        """Return the entries of a segment, assembled from smaller ones if it is missing."""
        if level == 0:
            key = tree_log_key(self.hierarchy, number + 1)
            return [self.store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data]
        key = tree_segment_key(self.hierarchy, level, number)
        with suppress(NotFoundError):
            return self._unpack(self.store.get(key, max_bytes=_MAX_SEGMENT_BYTES).data, level, number)
        lines = [line for part in range(FAN) for line in self._segment(level - 1, number * FAN + part)]
        if write:
            with suppress(ConflictError):  # written concurrently from the same entries
                self.store.create(key, zstandard.ZstdCompressor(write_checksum=True).compress(b"\n".join(lines)))
        return lines

    def _unpack(self, data: bytes, level: int, number: int) -> list[bytes]:
        name = tree_segment_key(self.hierarchy, level, number)
        try:
            lines = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_SEGMENT_BYTES).split(b"\n")
        except zstandard.ZstdError as error:
            raise CorruptObjectError(
                f"{name} cannot be read: {error}; delete it, it is rebuilt from the entries"
            ) from error
        if len(lines) != FAN**level:
            raise CorruptObjectError(f"{name} contains {len(lines)} entries, expected {FAN**level}: delete it")
        return lines
