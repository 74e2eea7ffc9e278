"""Reading of artifact trees: nodes with data and content, children, revisions, pages and subtrees."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from recsys_assets.errors import CorruptObjectError, NoSuchNodeError, NotFoundError
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode
from recsys_assets.release.layout import node_content_key, node_key
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.trees.documents import Hierarchy, NodeDocument, NodeRecord, TreeEntry
from recsys_assets.trees.log import Filter, TreeLog, TreeState

MAX_TREE_NODES: Final = 1_000  # nodes of one subtree, each read from the store

Found = TypeVar("Found")


class NodeRevision(msgspec.Struct, frozen=True):
    """One revision of a node: document, label of its level, and etag (SHA-256 of the document)."""

    document: NodeDocument
    label: str
    etag: str

    @property
    def id(self) -> str:
        """ULID of the node."""
        return self.document.id


class Branch(msgspec.Struct, frozen=True):
    """A node with its children to the requested depth. `total` also counts children that are not included."""

    node: NodeRevision
    total: int
    children: tuple["Branch", ...] = ()


class TreeReader:
    """Read access to one hierarchy, with its state in memory. Each call reads the new log entries first."""

    def __init__(self, store: ObjectStore, hierarchy: Hierarchy) -> None:
        self.store, self.hierarchy = store, hierarchy
        self._lock = threading.RLock()
        self._log, self._state = TreeLog(store, hierarchy.name), TreeState()

    def find(self, node: str, *, revision: int | None = None) -> NodeRevision:
        """Return a node in its newest revision, or in an older one. Raises `NoSuchNodeError` if it does not exist."""
        if revision is None:
            return self._node(self.look(lambda state: state.find(node)))
        revisions = self.revisions(node)
        if not 1 <= revision <= len(revisions):
            raise NoSuchNodeError(f"node {node} has the revisions 1 to {len(revisions)}, not {revision}")
        return self._node(revisions[revision - 1])

    def revisions(self, node: str) -> tuple[NodeRecord, ...]:
        """Return the revisions of a node, oldest first, without their data."""
        return self.look(lambda state: (state.find(node), tuple(state.revisions[node]))[1])

    def children(self, node: str | None = None) -> tuple[NodeRevision, ...]:
        """Return the children of a node, or the roots, oldest first."""
        if node is not None:
            self.look(lambda state: state.find(node))
        return self.read_all(self.look(lambda state: state.children(node)))

    def page(
        self, wanted: Filter | None = None, *, start: int = 0, size: int = 50
    ) -> tuple[tuple[NodeRevision, ...], int]:
        """Return a page of the nodes that match a filter, oldest first, and the number of all matches."""
        nodes, total = self.look(lambda state: state.select(wanted or Filter(), start=start, size=size))
        return self.read_all(nodes), total

    def tree(self, node: str, *, max_depth: int | None = None, max_nodes: int = MAX_TREE_NODES) -> Branch:
        """Return a node with its descendants, level by level, up to the maximum depth and number of nodes."""
        levels = self.look(lambda state: _levels(state, node, max_depth, max_nodes))
        records = [record for level in levels for record, _ in level]
        nodes = dict(zip((record.id for record in records), self.read_all(records), strict=True))
        below: dict[str | None, list[Branch]] = {}
        for level in reversed(levels):
            above: dict[str | None, list[Branch]] = {}
            for record, total in level:
                branch = Branch(nodes[record.id], total, tuple(below.get(record.id, ())))
                above.setdefault(record.parent, []).append(branch)
            below = above
        return next(iter(below.values()))[0]

    def history(self, *, limit: int = 100) -> tuple[TreeEntry, ...]:
        """Return the newest entries of the log, newest first."""
        with self._lock:
            self._refresh()
            last = self._log.sequence
        return fan_out(self._log.read, range(last, max(last - limit, 0), -1))

    def read_content(self, node: NodeRevision) -> bytes:
        """Return the verified bytes of a node's content. Raises `NoSuchNodeError` if it has none, or it was deleted."""
        content = node.document.content
        if content is None:
            raise NoSuchNodeError(f"node {node.id} has no content, only data")
        key = content.artifact or node_content_key(self.hierarchy.name, node.id, content.digest)
        try:
            data = self.store.get(key, max_bytes=content.size).data
        except NotFoundError as error:
            gone = (
                "was collected, because no release needs it"
                if content.artifact
                else "is lost: restore it from a backup"
            )
            raise NoSuchNodeError(f"the content of node {node.id} {gone}") from error
        return _proven(data, content.digest, name=key)

    def look(self, at: Callable[[TreeState], Found]) -> Found:
        """Return the result of a function of the current state, after reading the new log entries."""
        with self._lock:
            self._refresh()
            return at(self._state)

    def read_all(self, records: Sequence[NodeRecord]) -> tuple[NodeRevision, ...]:
        """Return nodes by their records, read in parallel."""
        return fan_out(self._node, records)

    def _node(self, record: NodeRecord) -> NodeRevision:
        return NodeRevision(self._read(record), self.hierarchy.label(record.level), record.document)

    def _read(self, record: NodeRecord) -> NodeDocument:
        key = node_key(self.hierarchy.name, record.id, record.document)
        try:
            data = self.store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data
        except NotFoundError as error:
            raise CorruptObjectError(f"{key} is lost: restore it from a backup") from error
        return decode(_proven(data, record.document, name=key), NodeDocument, name=key)

    def _refresh(self) -> None:
        try:
            for entry in self._log.new_entries():
                self._state.apply(entry)
        except CorruptObjectError:  # the store was restored from a backup
            self._read_from_start()

    def _read_from_start(self) -> None:
        log, state = TreeLog(self.store, self.hierarchy.name), TreeState()
        for entry in log.new_entries():
            state.apply(entry)
        self._log, self._state = log, state


def _levels(state: TreeState, node: str, max_depth: int | None, max_nodes: int) -> list[list[tuple[NodeRecord, int]]]:
    """Return the nodes of a subtree by depth, each with the number of its children."""
    root = state.find(node)
    levels = [[(root, len(state.below.get(node, ())))]]
    shown = 1
    while levels[-1] and (max_depth is None or len(levels) <= max_depth) and shown < max_nodes:
        children = (child for parent, _ in levels[-1] for child in state.children(parent.id))
        level = [
            (child, len(state.below.get(child.id, ())))
            for child, _ in zip(children, range(max_nodes - shown), strict=False)
        ]
        shown += len(level)
        levels.append(level)
    return [level for level in levels if level]


def _proven(data: bytes, digest: str, *, name: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptObjectError(f"{name} does not match the digest in its name: restore it from a backup")
    return data
