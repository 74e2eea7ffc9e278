"""Artifact trees over HTTP: create, find, list, expand, revise, download, delete and restore nodes."""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from starlette.responses import Response

from recsys_assets.api.actions import Action, ActionRequest, ActionResponse
from recsys_assets.api.artifact_bytes import TAG
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.context import ApiContext
from recsys_assets.api.node_forms import (
    BranchView,
    ChangeView,
    DownloadQuery,
    LogQuery,
    NewNode,
    NodePage,
    NodeQuery,
    NodesQuery,
    NodeTreeQuery,
    NodeView,
    RevisionQuery,
    RevisionView,
    TreeBody,
    split_data,
    view_branch,
    view_change,
    view_node,
    view_revision,
)
from recsys_assets.api.queries import NoQuery
from recsys_assets.api.table_formats import (
    choose_format,
    ending_of,
    is_table,
    open_table,
    read_rows,
    send_rows,
    write_rows,
)
from recsys_assets.errors import (
    BadRequestError,
    ConfigurationError,
    InvalidNodeError,
    NoSuchNodeError,
    StaleRevisionError,
    UnknownAddressError,
)
from recsys_assets.release.journal import Actor
from recsys_assets.trees.content import JSON, Content, metadata_of
from recsys_assets.trees.log import Filter
from recsys_assets.trees.tree import ArtifactTree
from recsys_assets.trees.tree_lookup import named_tree, page_of_nodes, tree_of_node
from recsys_assets.trees.tree_reader import NodeRevision

ROOT: Final = "/api/v1/artifacts"
MAX_BODY_BYTES: Final = 100_000_000
_ONE: Final = f"{ROOT}/{{id}}"


def create_node(context: ApiContext, request: ActionRequest) -> ActionResponse:
    """Create a node, as a root or below a parent. Its level is computed."""
    body = request.read(NewNode)
    return _create(context, request, body, node=body.id)


def list_nodes(context: ApiContext, request: ActionRequest) -> NodePage:
    """Return a page of the nodes that match the filters, oldest first, of one hierarchy or of all."""
    query: NodesQuery = request.query
    name, _, value = (query.metadata or "").partition(":")
    wanted = Filter(
        level=query.level,
        parent="" if query.parent_id == "root" else query.parent_id,
        created_from=query.created_from,
        created_before=query.created_before,
        metadata=(name, value) if query.metadata else None,
        text=query.q,
        deleted=query.deleted,
    )
    if query.hierarchy is not None:
        _tree(context, query.hierarchy)  # raises for an unknown one
    items, total = page_of_nodes(context.trees, wanted, hierarchy=query.hierarchy, page=query.page, size=query.size)
    return NodePage(tuple(view_node(node) for _, node in items), total, query.page, query.size, -(-total // query.size))


def show_node(context: ApiContext, request: ActionRequest) -> ActionResponse:
    """Return a node in its newest revision, or in an older one."""
    tree, query = tree_of_node(context.trees, request.query.id), request.query
    node = tree.find(query.id, revision=query.revision)
    if node.etag in TAG.findall(request.headers.get("if-none-match", "")):
        return ActionResponse(None, status=304, headers=_tag(node))
    return ActionResponse(view_node(node), headers=_tag(node))


def replace_node(context: ApiContext, request: ActionRequest) -> ActionResponse:
    """Create a new revision of a node, or with `If-None-Match: *` a new node with this id.

    Raises `BadRequestError` if the body has another id, `InvalidNodeError` if it would move the node.
    """
    body, node = request.read(NewNode), request.query.id
    if body.id not in {None, node}:
        raise BadRequestError(f"the id is {body.id} in the body and {node} in the URL: omit it from the body")
    if request.headers.get("if-none-match", "").strip() == "*":
        return _create(context, request, body, node=node)
    tree = tree_of_node(context.trees, node)
    before = tree.find(node)
    if body.parent_id not in {None, before.document.parent} or body.hierarchy not in {None, tree.hierarchy.name}:
        raise InvalidNodeError(
            f"node {node} is below {before.document.parent} and cannot be moved: create another node"
        )
    data, content = split_data(body.data)
    expected = _expected(request, before)
    made = tree.revise(node, data, content=content, expected=expected, by=_actor(request))
    return ActionResponse(view_node(made), headers=_tag(made))


def replace_content(context: ApiContext, request: ActionRequest) -> ActionResponse:
    """Create a new revision of a node with the body as its content, of the type in the header Content-Type."""
    tree, node = tree_of_node(context.trees, request.query.id), request.query.id
    before = tree.find(node)
    content = Content(request.body, request.headers.get("content-type", "application/octet-stream"))
    if is_table(content.content_type):
        open_table(content.data, content.content_type, name="the body")
    made = tree.revise(node, content=content, expected=_expected(request, before), by=_actor(request))
    return ActionResponse(view_node(made), headers=_tag(made))


def delete_node(context: ApiContext, request: ActionRequest) -> ActionResponse:
    """Move a node to the trash. Refused while it has children."""
    tree, node = tree_of_node(context.trees, request.query.id), request.query.id
    expected = _expected(request, tree.find(node)) if "if-match" in request.headers else None
    tree.delete(node, expected=expected, by=_actor(request))
    return ActionResponse(None, status=204)


def restore_node(context: ApiContext, request: ActionRequest) -> ActionResponse:
    """Restore a node from the trash, within the grace period."""
    made = tree_of_node(context.trees, request.query.id, deleted=True).restore(request.query.id, by=_actor(request))
    return ActionResponse(view_node(made), headers=_tag(made))


def show_subtree(context: ApiContext, request: ActionRequest) -> BranchView:
    """Return a node with its descendants, at most 1,000 nodes, level by level."""
    body = request.read(TreeBody)
    return view_branch(tree_of_node(context.trees, body.root_id).tree(body.root_id, max_depth=body.max_depth))


def show_node_tree(context: ApiContext, request: ActionRequest) -> BranchView:
    """Return a node with its descendants, as `$tree` does."""
    query = request.query
    return view_branch(tree_of_node(context.trees, query.id).tree(query.id, max_depth=query.max_depth))


def expand_node(context: ApiContext, request: ActionRequest) -> NodeView:
    """Return a node with its hierarchy and the label of its level, without its children."""
    return view_node(
        tree_of_node(context.trees, request.query.id).find(request.query.id, revision=request.query.revision)
    )


def show_node_metadata(context: ApiContext, request: ActionRequest) -> Mapping[str, object]:
    """Return only the metadata of a node: the metadata of typed data, or all of other data."""
    node = tree_of_node(context.trees, request.query.id).find(request.query.id, revision=request.query.revision)
    return metadata_of(node.document.data)


def list_revisions(context: ApiContext, request: ActionRequest) -> tuple[RevisionView, ...]:
    """Return the revisions of a node, oldest first."""
    return tuple(map(view_revision, tree_of_node(context.trees, request.query.id).revisions(request.query.id)))


def list_changes(context: ApiContext, request: ActionRequest) -> tuple[ChangeView, ...]:
    """Return the newest changes of a hierarchy, newest first, with actor, time and reason."""
    return tuple(map(view_change, _tree(context, request.query.hierarchy).history(limit=request.query.limit)))


def download_node(context: ApiContext, request: ActionRequest) -> Response:
    """Send a node's content as a file: a table as JSON, CSV or Parquet, data without content as JSON."""
    query: DownloadQuery = request.query
    tree = tree_of_node(context.trees, query.id)
    node = tree.find(query.id, revision=query.revision)
    name = f"artifact_{query.id}"
    if node.document.content is None:
        return _file(write_rows_of_data(node), JSON, name)
    with context.heavy.pass_through():
        data, kind = tree.read_content(node), node.document.content.content_type
        if not is_table(kind) and query.format in {None, ending_of(kind)}:
            return _file(data, kind, name)
        rows = read_rows(data, kind, name=f"the content of {query.id}")
        return send_rows(rows, choose_format(query.format, request.headers.get("accept", "")), name=name)


def write_rows_of_data(node: NodeRevision) -> bytes:
    """Return a node's data as one JSON document."""
    return write_rows([node.document.data], "json")[1:-1]


def _create(context: ApiContext, request: ActionRequest, body: NewNode, *, node: str | None) -> ActionResponse:
    data, content = split_data(body.data)
    tree = _tree(context, body.hierarchy) if body.parent_id is None else _tree_of_parent(context, body)
    made = tree.save(data, parent=body.parent_id, content=content, node=node, by=_actor(request))
    return ActionResponse(view_node(made), status=201, headers={**_tag(made), "Location": f"{ROOT}/{made.id}"})


def _tree(context: ApiContext, name: str | None) -> ArtifactTree:
    try:
        return named_tree(context.trees, name)
    except ConfigurationError as error:
        raise UnknownAddressError(str(error)) from error


def _tree_of_parent(context: ApiContext, body: NewNode) -> ArtifactTree:
    try:
        tree = tree_of_node(context.trees, body.parent_id or "")
    except NoSuchNodeError as error:
        raise InvalidNodeError(f"parent_id: {error}") from error
    if body.hierarchy not in {None, tree.hierarchy.name}:
        raise InvalidNodeError(f"parent_id: node {body.parent_id} is in the hierarchy {tree.hierarchy.name}")
    return tree


def _expected(request: ActionRequest, newest: NodeRevision) -> str | None:
    """Return the etag that `If-Match` requires, or None without the header or for `*`."""
    wanted = request.headers.get("if-match", "*").strip()
    if wanted == "*":
        return None
    tags = [tag for tag in TAG.findall(wanted) if not wanted.startswith("W/")]
    if not tags:
        _refuse_tag(wanted)
    return newest.etag if newest.etag in tags else tags[0]


def _refuse_tag(wanted: str) -> NoReturn:
    raise StaleRevisionError(f'If-Match: {wanted[:100]}: expected etags of earlier responses, such as "...", or *')


def _actor(request: ActionRequest) -> Actor:
    return Actor(request.by or "api", request.headers.get("x-reason", "")[:1000])


def _tag(node: NodeRevision) -> dict[str, str]:
    return {"ETag": f'"{node.etag}"', "Cache-Control": "no-cache"}


def _file(data: bytes, kind: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{ending_of(kind)}"', "Content-Type": kind}
    return Response(data, headers=headers)


_HEAVY: Final = RequestClass.HEAVY
ACTIONS: Final = (
    Action("POST", ROOT, "write", NoQuery, NewNode, NodeView, create_node, status=201),
    Action("GET", ROOT, "read", NodesQuery, None, NodePage, list_nodes),
    Action("POST", f"{ROOT}/$tree", "read", NoQuery, TreeBody, BranchView, show_subtree),
    Action("GET", f"{ROOT}/$log", "read", LogQuery, None, tuple[ChangeView, ...], list_changes),
    Action("GET", _ONE, "read", RevisionQuery, None, NodeView, show_node),
    Action("PUT", _ONE, "write", NodeQuery, NewNode, NodeView, replace_node),
    Action("DELETE", _ONE, "write", NodeQuery, None, None, delete_node, status=204),
    Action("GET", f"{_ONE}/$tree", "read", NodeTreeQuery, None, BranchView, show_node_tree),
    Action("GET", f"{_ONE}/$expand", "read", RevisionQuery, None, NodeView, expand_node),
    Action("GET", f"{_ONE}/$metadata", "read", RevisionQuery, None, dict[str, Any], show_node_metadata),
    Action("GET", f"{_ONE}/$revisions", "read", NodeQuery, None, tuple[RevisionView, ...], list_revisions),
    Action("GET", f"{_ONE}/$download", "read", DownloadQuery, None, bytes, download_node, cost=_HEAVY, files=("*/*",)),
    Action(
        "PUT",
        f"{_ONE}/$content",
        "write",
        NodeQuery,
        bytes,
        NodeView,
        replace_content,
        cost=_HEAVY,
        max_bytes=MAX_BODY_BYTES,
    ),
    Action("POST", f"{_ONE}/$restore", "write", NodeQuery, None, NodeView, restore_node),
)
