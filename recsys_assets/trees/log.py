"""Log of a hierarchy, chained by hash and sealed into segments, and the state in memory that is derived from it."""

import hashlib
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec
import zstandard

from recsys_assets.errors import ConflictError, CorruptObjectError, NodeInUseError, NoSuchNodeError, NotFoundError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import parse_rfc3339
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, create_document, decode, find_stored
from recsys_assets.release.layout import tree_log_key, tree_segment_key
from recsys_assets.storage.store import ObjectStore
from recsys_assets.trees.documents import NodeChange, NodeRecord, TreeEntry

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


class Filter(msgspec.Struct, frozen=True):
    """Filter of nodes. None matches all. `parent` "" selects roots, `deleted` nodes in the trash."""

    level: int | None = None
    parent: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    metadata: tuple[str, Scalar] | None = None
    text: str | None = None  # part of any searchable value, or beginning of the id
    deleted: bool = False

    def takes(self, node: NodeRecord) -> bool:
        """Return whether a node matches the filter, regardless of its parent."""
        if self.level is not None and node.level != self.level:
            return False
        if self.metadata is not None and not _holds(node, *self.metadata):
            return False
        if self.text is not None and not _mentions(node, self.text.casefold()):
            return False
        if self.created_from is None and self.created_before is None:
            return True
        at = parse_rfc3339(node.created_at)
        return not (
            (self.created_from is not None and at < self.created_from)
            or (self.created_before is not None and at >= self.created_before)
        )


def _holds(node: NodeRecord, name: str, value: Scalar) -> bool:
    """Return whether a searchable field has a value, typed or as text."""
    stored = node.fields.get(name)
    if isinstance(stored, bool):
        return str(stored).lower() == str(value).lower()
    if isinstance(stored, int | float) and isinstance(value, str):
        try:
            return stored == float(value)
        except ValueError:
            return False
    return stored is not None and stored == value


def _mentions(node: NodeRecord, text: str) -> bool:
    """Return whether a searchable value contains a casefolded text, or the id begins with it."""
    return node.id.casefold().startswith(text) or any(text in str(value).casefold() for value in node.fields.values())


@dataclass(slots=True)
class TreeState:
    """All nodes of a hierarchy in memory, after applying the log entry by entry."""

    revisions: dict[str, list[NodeRecord]] = field(default_factory=dict[str, list[NodeRecord]])  # living and deleted
    deleted: dict[str, TreeEntry] = field(default_factory=dict[str, TreeEntry])  # entry of the deletion, by id
    purged: set[str] = field(default_factory=set[str])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    living: list[str] = field(default_factory=list[str])  # sorted ids, in order of creation time
    below: defaultdict[str | None, list[str]] = field(default_factory=lambda: defaultdict[str | None, list[str]](list))

    def apply(self, entry: TreeEntry) -> None:
        """Apply one entry, which was validated before it was written."""
        if entry.node is not None:
            if entry.change == NodeChange.CREATE:
                self.revisions[entry.node.id] = []
                self._add(entry.node)
            self.revisions[entry.node.id].append(entry.node)
            return
        for node in entry.ids:
            if entry.change == NodeChange.DELETE:
                self._remove(self.revisions[node][-1])
                self.deleted[node] = entry
            elif entry.change == NodeChange.RESTORE:
                self.deleted.pop(node)
                self._add(self.revisions[node][-1])
            else:
                self.purged.add(node)
                self.deleted.pop(node, None)
                self.revisions.pop(node, None)

    def find(self, node: str) -> NodeRecord:
        """Return the newest revision of a node. Raises `NoSuchNodeError` that says whether it was deleted."""
        if node in self.deleted:
            raise NoSuchNodeError(f"node {node} was deleted at {self.deleted[node].at}; it can be restored for a while")
        if node not in self.revisions:
            gone = "was permanently deleted" if node in self.purged else "is not in this tree"
            raise NoSuchNodeError(f"node {node[:100]} {gone}")
        return self.revisions[node][-1]

    def children(self, node: str | None) -> list[NodeRecord]:
        """Return the children of a node, or the roots, oldest first."""
        return [self.revisions[child][-1] for child in self.below.get(node, ())]

    def refuse_children(self, node: str) -> None:
        """Raise `NodeInUseError` if a node has children."""
        children = self.below.get(node, ())
        if children:
            more = f" and {len(children) - 3:,} more" if len(children) > 3 else ""  # noqa: PLR2004 - ids listed
            raise NodeInUseError(f"node {node} has children: {', '.join(children[:3])}{more}; delete them first")

    def select(self, wanted: Filter, *, start: int, size: int) -> tuple[list[NodeRecord], int]:
        """Return a page of the nodes that match a filter, oldest first, and the number of all matches."""
        if wanted == Filter():
            return [self.revisions[node][-1] for node in islice(self.living, start, start + size)], len(self.living)
        matches = [node for node in self._candidates(wanted) if wanted.takes(node)]
        return matches[start : start + size], len(matches)

    def _candidates(self, wanted: Filter) -> Iterator[NodeRecord]:
        if wanted.deleted:
            ids = sorted(self.deleted)
            return (
                self.revisions[node][-1]
                for node in ids
                if wanted.parent is None or self.revisions[node][-1].parent == (wanted.parent or None)
            )
        ids = self.living if wanted.parent is None else self.below.get(wanted.parent or None, [])
        return (self.revisions[node][-1] for node in ids)

    def _add(self, node: NodeRecord) -> None:
        insort(self.living, node.id)
        insort(self.below[node.parent], node.id)
        if node.origin is not None:
            self.origins[node.origin] = node.id

    def _remove(self, node: NodeRecord) -> None:
        for ids in (self.living, self.below[node.parent]):
            del ids[bisect_left(ids, node.id)]
        if node.origin is not None:
            self.origins.pop(node.origin, None)
