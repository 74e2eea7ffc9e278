"""Console pages of artifact trees: filtered nodes, and one node with data, content, revisions and subtree."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, zip_longest
from typing import Annotated, Any, Final

import msgspec

from recsys_assets.api.actions import ActionRequest
from recsys_assets.api.context import ApiContext
from recsys_assets.api.node_forms import (
    ChangeView,
    FieldValue,
    HierarchyName,
    LogQuery,
    NodesQuery,
    NodeView,
    PageNumber,
    ParentId,
    RevisionQuery,
    Search,
    view_branch,
    view_node,
)
from recsys_assets.api.queries import Day, NoQuery
from recsys_assets.api.table_formats import is_table
from recsys_assets.api.trees import list_changes, list_nodes, list_revisions
from recsys_assets.errors import BadRequestError
from recsys_assets.evidence import Scalar
from recsys_assets.trees.content import metadata_of, searchable
from recsys_assets.trees.tree_lookup import tree_of_node
from recsys_assets.trees.tree_reader import NodeRevision, TreeReader

_SIZE: Final = 50  # nodes per page
_BELOW: Final = 100  # maximum nodes of a subtree shown
_FIELDS: Final = 4  # metadata fields shown per node in a list
_CHANGES: Final = 10
_REVISIONS: Final = 50


class NodesPageQuery(NoQuery, frozen=True, kw_only=True):
    """Parameters of the form that lists nodes, with days instead of times."""

    q: Search | None = None
    hierarchy: HierarchyName | None = None
    level: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    parent_id: ParentId | None = None
    metadata: FieldValue | None = None
    first_day: Day | None = None
    last_day: Day | None = None
    deleted: bool = False
    page: PageNumber = 1


def gather_nodes(context: ApiContext, query: NodesPageQuery) -> dict[str, Any]:
    """Return the nodes that match a form, its choices, and the newest changes if one tree is selected."""
    wanted = NodesQuery(
        page=query.page,
        size=_SIZE,
        q=query.q,
        hierarchy=query.hierarchy,
        level=query.level,
        parent_id=query.parent_id,
        created_from=_midnight(query.first_day),
        created_before=_midnight(query.last_day, days_later=1),
        metadata=query.metadata,
        deleted=query.deleted,
    )
    looked_at = [name for name in context.trees if query.hierarchy in {None, name}]
    page = list_nodes(context, ActionRequest(wanted)) if context.trees else None
    changes: tuple[ChangeView, ...] = ()
    if len(looked_at) == 1:
        changes = list_changes(context, ActionRequest(LogQuery(hierarchy=looked_at[0], limit=_CHANGES)))
    return {
        "query": query,
        "found": page,
        "fields_of": _fields_of,
        "hierarchies": tuple(context.trees),
        "levels": tuple(_labels(context, looked_at)),
        "changes": changes,
        "living": _living(context.trees[looked_at[0]], changes) if changes else frozenset(),
    }


def gather_node(context: ApiContext, query: RevisionQuery) -> dict[str, Any]:
    """Return one revision of a node, its ancestors and descendants, and its revisions, newest first."""
    tree = tree_of_node(context.trees, query.id)
    node = tree.find(query.id, revision=query.revision)
    revisions = list_revisions(context, ActionRequest(query))
    content = node.document.content
    return {
        "node": view_node(node),
        "metadata": metadata_of(node.document.data),
        "data": msgspec.json.format(msgspec.json.encode(node.document.data), indent=2).decode(),
        "above": [view_node(ancestor) for ancestor in _above(tree, node)],
        "branch": view_branch(tree.tree(query.id, max_nodes=_BELOW)),
        "fields_of": _fields_of,
        "revisions": revisions[: -_REVISIONS - 1 : -1],
        "is_newest": node.document.revision == len(revisions),
        "is_table": content is not None and is_table(content.content_type),
        "is_artifact": content is not None and content.artifact is not None,
    }


def _living(tree: TreeReader, changes: tuple[ChangeView, ...]) -> frozenset[str]:
    """Return the nodes of some changes that still exist and have a page."""
    ids = [node for change in changes for node in change.ids]
    return tree.look(lambda state: frozenset(ids) & state.revisions.keys() - state.deleted.keys())


def _above(tree: TreeReader, node: NodeRevision) -> list[NodeRevision]:
    """Return the ancestors of a node, from the root down."""
    ancestors: list[NodeRevision] = []
    parent = node.document.parent
    while parent is not None:
        ancestors.insert(0, tree.find(parent))
        parent = ancestors[0].document.parent
    return ancestors


def _fields_of(node: NodeView) -> dict[str, Scalar]:
    """Return the metadata fields shown for a node in a list."""
    return dict(islice(searchable(node.data).items(), _FIELDS))


def _labels(context: ApiContext, names: list[str]) -> Iterator[str]:
    """Yield the labels of each level of some hierarchies, from the root down."""
    for labels in zip_longest(*(context.trees[name].hierarchy.levels for name in names)):
        yield " or ".join(dict.fromkeys(label for label in labels if label))


def _midnight(day: str | None, *, days_later: int = 0) -> datetime | None:
    if day is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(day), time(), UTC) + timedelta(days=days_later)
    except (ValueError, OverflowError):
        raise BadRequestError(f"{day} is not a calendar day: expected YYYY-MM-DD, such as 2026-01-31") from None
