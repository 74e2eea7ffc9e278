"""Types of artifact trees over HTTP: parameters, request bodies and response values."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from recsys_assets.api.queries import NoQuery
from recsys_assets.api.table_formats import Format
from recsys_assets.errors import InvalidNodeError
from recsys_assets.evidence import Scalar
from recsys_assets.trees.content import TYPES, Content, json_content, refuse_pickles, table_content
from recsys_assets.trees.documents import NodeRecord, TreeEntry
from recsys_assets.trees.tree_reader import Branch, NodeRevision

Ulid = Annotated[str, msgspec.Meta(pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}$", min_length=26, max_length=26)]
ParentId = Annotated[
    str,
    msgspec.Meta(pattern="^(root|[0-7][0-9A-HJKMNP-TV-Z]{25})$", max_length=26, description="a node's id, or `root`"),
]
HierarchyName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]{1,100}$", min_length=1, max_length=100)]
Depth = Annotated[int, msgspec.Meta(ge=0, le=100)]
PageNumber = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=100)]
Search = Annotated[
    str, msgspec.Meta(max_length=200, description="part of any metadata value, or the beginning of the id")
]
FieldValue = Annotated[str, msgspec.Meta(pattern="^[^:]{1,64}:", max_length=265, description="field:value")]
Revision = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class NodeQuery(NoQuery, frozen=True, kw_only=True):
    """One node."""

    id: Ulid


class RevisionQuery(NodeQuery, frozen=True, kw_only=True):
    """One node, in its newest revision or an older one."""

    revision: Revision | None = None


class DownloadQuery(RevisionQuery, frozen=True, kw_only=True):
    """Download of a node's content, with the format of a table."""

    format: Format | None = None


class NodeTreeQuery(NodeQuery, frozen=True, kw_only=True):
    """Descendants of a node, to a depth."""

    max_depth: Depth | None = None


class NodesQuery(NoQuery, frozen=True, kw_only=True):
    """A page of nodes, oldest first."""

    page: PageNumber = 1
    size: PageSize = 50
    q: Search | None = None
    hierarchy: HierarchyName | None = None
    level: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    parent_id: ParentId | None = None
    created_from: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    created_before: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    metadata: FieldValue | None = None
    deleted: bool = False


class LogQuery(NoQuery, frozen=True, kw_only=True):
    """The newest entries of a hierarchy's log."""

    hierarchy: HierarchyName | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class NewNode(NoQuery, frozen=True, kw_only=True):
    """A new node."""

    data: dict[str, Any]
    parent_id: Ulid | None = None
    hierarchy: HierarchyName | None = None
    id: Ulid | None = None


class TreeBody(NoQuery, frozen=True, kw_only=True):
    """Root and depth of a subtree."""

    root_id: Ulid
    max_depth: Depth | None = None


class ContentView(msgspec.Struct, frozen=True):
    """Content of a node, stored next to its data."""

    content_type: str
    content_size: int
    sha256: str


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a node."""

    id: str
    parent_id: str | None
    level: int
    level_label: str
    hierarchy: str
    data: Mapping[str, Any]
    content: ContentView | None
    created_at: str
    updated_at: str
    revision: int
    etag: str


class BranchView(NodeView, frozen=True, kw_only=True):
    """A node with its descendants. `children_total` also counts children that are not shown."""

    children_total: int
    children: tuple["BranchView", ...]


class NodePage(msgspec.Struct, frozen=True):
    """A page of nodes."""

    items: tuple[NodeView, ...]
    total: int
    page: int
    size: int
    pages: int


class RevisionView(msgspec.Struct, frozen=True):
    """One entry in the list of a node's revisions."""

    revision: int
    updated_at: str
    etag: str
    fields: Mapping[str, Scalar]
    content: ContentView | None


class ChangeView(msgspec.Struct, frozen=True):
    """One entry of a hierarchy's log."""

    sequence: int
    at: str
    actor: str
    reason: str
    change: str
    ids: tuple[str, ...]


def view_node(node: NodeRevision) -> NodeView:
    """Return a node as a response value."""
    return NodeView(**_fields(node))


def view_branch(branch: Branch) -> BranchView:
    """Return a subtree as a response value."""
    children = tuple(map(view_branch, branch.children))
    return BranchView(**_fields(branch.node), children_total=branch.total, children=children)


def view_revision(record: NodeRecord) -> RevisionView:
    """Return a revision as an entry of the list of revisions."""
    content = view_content(record.content)
    return RevisionView(record.revision, record.updated_at, record.document, record.fields, content)


def view_change(entry: TreeEntry) -> ChangeView:
    """Return an entry of a hierarchy's log as a response value."""
    return ChangeView(entry.sequence, entry.at, entry.actor, entry.reason, entry.change, entry.ids)


def _fields(node: NodeRevision) -> dict[str, Any]:
    document = node.document
    return {
        "id": document.id,
        "parent_id": document.parent,
        "level": document.level,
        "level_label": node.label,
        "hierarchy": document.hierarchy,
        "data": document.data,
        "content": view_content(document.content),
        "created_at": document.created_at,
        "updated_at": document.updated_at,
        "revision": document.revision,
        "etag": node.etag,
    }


def view_content(content: Any) -> ContentView | None:
    """Return the description of a content, or None without one."""
    return content and ContentView(content.content_type, content.size, content.digest)


def split_data(data: Mapping[str, Any]) -> tuple[dict[str, Any], Content | None]:
    """Return data without its inline content, and the content. Only typed data may contain one.

    A table is a list of records, or an object of `columns` and rows of `data`. With a content type that is neither JSON
    nor a table, the content is base64. Raises `InvalidNodeError` for invalid content.
    """
    plain = dict(data)
    if plain.get("type") not in TYPES:
        return plain, None
    content, kind, size = (plain.pop(name, None) for name in ("content", "content_type", "content_size"))
    if not isinstance(kind, str | None):
        raise InvalidNodeError(f"content_type is {kind!r}: expected a text such as application/json")
    refuse_pickles(b"", kind or "")
    if content is None:
        return plain, None
    parsed = _content(content, (kind or "application/json").lower())
    if isinstance(content, str) and size is not None and size != len(parsed.data):
        raise InvalidNodeError(f"content_size is {size}, and content has {len(parsed.data)} bytes: send all of it")
    return plain, parsed


def _content(content: Any, kind: str) -> Content:
    if kind.partition(";")[0].strip() == "application/json":
        return json_content(content)
    if isinstance(content, list):
        return table_content(_of_records(content))
    if isinstance(content, dict):
        columns, rows = content.get("columns"), content.get("data")
        if not isinstance(columns, list) or not isinstance(rows, list):
            raise InvalidNodeError(f"content of {kind}: expected records, or an object with columns and data")
        try:
            return table_content(_of_records([dict(zip(columns, row, strict=True)) for row in rows]))
        except (TypeError, ValueError) as error:
            raise InvalidNodeError(f"content of {kind}: every row needs {len(columns)} values: {error}") from error
    try:
        return Content(base64.b64decode(str(content), validate=True), kind)
    except (binascii.Error, ValueError) as error:
        raise InvalidNodeError(f"content of {kind}: expected its bytes in base64: {error}") from error


def _of_records(records: list[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - needed only for tables

    try:
        return pa.Table.from_pylist(records)
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InvalidNodeError(f"content: expected records of equal form: {error}") from error
