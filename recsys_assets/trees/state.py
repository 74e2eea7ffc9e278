"""In-memory state of a hierarchy, derived from its log: nodes by id and parent, the trash, and filters."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import msgspec

from recsys_assets.errors import NodeInUseError, NoSuchNodeError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import parse_rfc3339
from recsys_assets.trees.documents import NodeChange, NodeRecord, TreeEntry


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
