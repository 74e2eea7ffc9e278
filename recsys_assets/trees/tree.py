"""Changes of artifact trees: save, revise, delete, restore and purge nodes, each validated and logged."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from secrets import token_hex
from typing import Any, Final

import msgspec

from recsys_assets.errors import (
    ConflictError,
    InvalidNodeError,
    NoSuchNodeError,
    StaleRevisionError,
)
from recsys_assets.identity import rfc3339, utc_now
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.fault_points import reach
from recsys_assets.release.journal import Actor, Clock, this_account
from recsys_assets.release.layout import node_content_key, node_key
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore
from recsys_assets.trees.content import Content, check_data, searchable
from recsys_assets.trees.documents import (
    Hierarchy,
    NodeChange,
    NodeDocument,
    NodeRecord,
    StoredContent,
    TreeEntry,
    is_ulid,
    new_ulid,
)
from recsys_assets.trees.log import TreeState
from recsys_assets.trees.tree_reader import NodeRevision, TreeReader

_TRIES: Final = 100  # lost races with other writers


class PlannedChange(msgspec.Struct, frozen=True):
    """A validated change: its log entry, and the objects that must be stored before it."""

    entry: TreeEntry
    objects: Mapping[str, bytes] = msgspec.field(default_factory=dict[str, bytes])


class ArtifactTree(TreeReader):
    """One hierarchy in a store, safe for any number of threads and processes.

    A change is committed by creating the next entry of the hierarchy's log, after the objects that it refers to.
    Therefore a change is validated against the exact state before it, and an interrupted change has no effect.
    """

    def __init__(self, store: ObjectStore, hierarchy: Hierarchy, *, now: Clock = utc_now, pause: Pause = wait) -> None:
        super().__init__(store, hierarchy)
        self._now, self._pause = now, pause
        self._is_proven = False
        self._last_id: str | None = None

    def save(
        self,
        data: Mapping[str, Any],
        *,
        parent: str | None = None,
        content: Content | StoredContent | None = None,
        node: str | None = None,
        origin: str | None = None,
        by: Actor | None = None,
    ) -> NodeRevision:
        """Save a new node below a parent, or as a root, and return it. Its id is a new ULID unless one is given.

        Returns the existing node if `origin` is already registered. Raises `InvalidNodeError` for invalid data,
        content, parent or level, and `StaleRevisionError` if the id is taken.
        """
        checked, at = self._check(data, content), self._now()
        if node is not None and not is_ulid(node):
            raise InvalidNodeError(
                f"id {node[:100]!r} is not a ULID: expected 26 capital letters and digits, without I, L, O and U"
            )
        with self._lock:
            name = node or new_ulid(at, after=self._last_id)
            self._last_id = name if node is None else self._last_id

        def judge(state: TreeState) -> PlannedChange | None:
            if origin in state.origins:
                return None
            if name in state.revisions or name in state.purged:
                raise StaleRevisionError(f"node {name} exists or existed: choose another id")
            document = NodeDocument(
                id=name,
                hierarchy=self.hierarchy.name,
                parent=parent,
                level=self.hierarchy.below(self._parent(state, parent)),
                revision=1,
                created_at=rfc3339(at),
                updated_at=rfc3339(at),
                data=checked,
                content=_stored(content),
                origin=origin,
            )
            return self._plan(NodeChange.CREATE, document, content, at, by)

        self._commit(judge)
        with self._lock:
            existing = self._state.origins.get(origin) if origin else None
        return self.find(existing or name)

    def revise(
        self,
        node: str,
        data: Mapping[str, Any] | None = None,
        *,
        content: Content | None = None,
        expected: str | None = None,
        by: Actor | None = None,
    ) -> NodeRevision:
        """Create a new revision of a node and return it. Omitted parts are kept, and older revisions stay readable.

        Raises `StaleRevisionError` if `expected` is given and is not the etag of the newest revision.
        """
        checked, at = None if data is None else self._check(data, content), self._now()
        if data is None:
            self._check({}, content)
        made: list[str] = []

        def judge(state: TreeState) -> PlannedChange:
            newest = self._newest(state, node, expected)
            before = self._read(newest)
            document = NodeDocument(
                id=node,
                hierarchy=self.hierarchy.name,
                parent=before.parent,
                level=before.level,
                revision=before.revision + 1,
                created_at=before.created_at,
                updated_at=rfc3339(at),
                data=before.data if checked is None else checked,
                content=before.content if content is None else content.stored,
                origin=before.origin,
            )
            made[:] = [hashlib.sha256(encode(document)).hexdigest()]
            return self._plan(NodeChange.REVISE, document, content, at, by)

        self._commit(judge)
        return self._node(next(revision for revision in self.revisions(node) if revision.document == made[0]))

    def delete(self, node: str, *, expected: str | None = None, by: Actor | None = None) -> None:
        """Move a node to the trash, from which `restore` recovers it within the grace period of collection.

        Raises `NodeInUseError` if it has children, and `StaleRevisionError` if its etag is not `expected`.
        """
        at = self._now()

        def judge(state: TreeState) -> PlannedChange:
            self._newest(state, node, expected)
            state.refuse_children(node)
            return PlannedChange(self._entry(NodeChange.DELETE, (node,), at, by))

        self._commit(judge)

    def restore(self, node: str, *, by: Actor | None = None) -> NodeRevision:
        """Restore a node from the trash below its former parent, and return it.

        Raises `InvalidNodeError` if impossible.
        """
        at = self._now()

        def judge(state: TreeState) -> PlannedChange:
            if node not in state.deleted:
                state.find(node)
                raise InvalidNodeError(f"node {node} is not in the trash")
            newest = state.revisions[node][-1]
            self._parent(state, newest.parent)
            if newest.origin in state.origins:
                raise InvalidNodeError(f"node {node}: {newest.origin} was registered again as another node")
            return PlannedChange(self._entry(NodeChange.RESTORE, (node,), at, by))

        self._commit(judge)
        return self.find(node)

    def purge(self, nodes: Sequence[str], *, by: Actor | None = None) -> None:
        """Record that nodes are permanently deleted. Raises `ConflictError` if one of them exists."""
        at = self._now()

        def judge(state: TreeState) -> PlannedChange:
            living = [node for node in nodes if node in state.revisions and node not in state.deleted]
            if living:
                raise ConflictError(f"node {living[0]} exists: it was restored or saved concurrently")
            return PlannedChange(self._entry(NodeChange.PURGE, tuple(nodes), at, by))

        self._commit(judge)

    def _check(self, data: Mapping[str, Any], content: Content | StoredContent | None) -> dict[str, Any]:
        if isinstance(content, Content) and len(content.data) > self.hierarchy.max_bytes:
            raise InvalidNodeError(
                f"content has {len(content.data):,} bytes: at most {self.hierarchy.max_bytes:,} are allowed in "
                f"{self.hierarchy.name}; raise hierarchies.{self.hierarchy.name}.max_bytes"
            )
        return check_data(data)

    def _parent(self, state: TreeState, parent: str | None) -> NodeRecord | None:
        try:
            return None if parent is None else state.find(parent)
        except NoSuchNodeError as error:
            raise InvalidNodeError(f"parent: {error}") from error

    def _newest(self, state: TreeState, node: str, expected: str | None) -> NodeRecord:
        newest = state.find(node)
        if expected is not None and expected != newest.document:
            raise StaleRevisionError(
                f"node {node} has revision {newest.revision} with the etag {newest.document}, expected {expected[:100]}"
            )
        return newest

    def _plan(
        self,
        change: NodeChange,
        document: NodeDocument,
        content: Content | StoredContent | None,
        at: datetime,
        by: Actor | None,
    ) -> PlannedChange:
        data = encode(document)
        digest = hashlib.sha256(data).hexdigest()
        record = NodeRecord(
            id=document.id,
            parent=document.parent,
            level=document.level,
            revision=document.revision,
            created_at=document.created_at,
            updated_at=document.updated_at,
            document=digest,
            content=document.content,
            fields=searchable(document.data),
            origin=document.origin,
        )
        objects = {node_key(self.hierarchy.name, document.id, digest): data}
        if isinstance(content, Content):  # content first: a document must never exist without its content
            key = node_content_key(self.hierarchy.name, document.id, content.digest)
            objects = {key: content.data, **objects}
        return PlannedChange(self._entry(change, (document.id,), at, by, node=record), objects)

    def _entry(
        self,
        change: NodeChange,
        ids: tuple[str, ...],
        at: datetime,
        by: Actor | None,
        *,
        node: NodeRecord | None = None,
    ) -> TreeEntry:
        actor = by or Actor(this_account(), "")
        return TreeEntry(
            sequence=0,
            previous="",
            nonce=token_hex(8),
            at=rfc3339(at),
            actor=actor.name,
            reason=actor.reason,
            run_id=actor.run_id,
            change=change.value,
            ids=ids,
            node=node,
        )

    def _commit(self, judge: Callable[[TreeState], PlannedChange | None]) -> None:
        """Store the objects of a change, then its entry. Validate it again whenever another change was first."""
        if not self._is_proven:
            ensure_proven(self.store)
            self._is_proven = True
        written: set[str] = set()
        for _ in attempts(_TRIES, pause=self._pause):
            while True:
                with self._lock:
                    self._refresh()
                    planned = judge(self._state)
                    if planned is None:
                        return
                    missing = planned.objects.keys() - written
                    if not missing and not self._log.is_intact():
                        self._read_from_start()
                        break  # then validates against the stored state
                    if not missing:
                        won = self._log.append(planned.entry)
                        self._refresh()
                        if won:
                            self._log.seal()
                            return
                        break
                for key, data in planned.objects.items():
                    with suppress(ConflictError):  # exists with the same bytes: the key is their hash
                        self.store.create(key, data)
                    written.add(key)
                    reach("tree.after_object")
        raise ConflictError(f"{self.hierarchy.name}: lost {_TRIES} races with other writers: retry")


def _stored(content: Content | StoredContent | None) -> StoredContent | None:
    return content.stored if isinstance(content, Content) else content


def open_trees(store: ObjectStore, settings: Settings, *, now: Clock = utc_now) -> dict[str, ArtifactTree]:
    """Return the trees of the configured hierarchies, by name, in configured order, without reading the store."""
    return {
        name: ArtifactTree(store, Hierarchy(name, row.levels, row.max_bytes), now=now)
        for name, row in settings.hierarchies.items()
    }
