"""Commands that read artifact trees: list, show, subtree, log, download. Also the group `tree`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from recsys_assets.api.node_forms import NodePage, view_branch, view_change, view_node, view_revision
from recsys_assets.cli.options import instant_type
from recsys_assets.cli.output import Stacked, echo, print_json, print_stacked, when
from recsys_assets.cli.tree_changes import (
    Trees,
    delete_node,
    hierarchy_option,
    on_trees,
    pair_of,
    restore_node,
    revise_node,
    save_node,
)
from recsys_assets.errors import InputError
from recsys_assets.identity import utc_now
from recsys_assets.messages import plural
from recsys_assets.trees.content import searchable
from recsys_assets.trees.log import Filter
from recsys_assets.trees.tree_lookup import named_tree, page_of_nodes, tree_of_node
from recsys_assets.trees.tree_reader import Branch, NodeRevision

_FIELDS: Final = 4  # metadata fields shown per node in a tree

_revision_option = click.option("--revision", type=click.IntRange(1), help="revision number; default: the newest")


@click.group("tree")
def tree() -> None:
    """List, show, save, download and delete nodes of artifact trees ([hierarchies.<name>])."""


@on_trees("list")
@hierarchy_option
@click.option("--level", type=click.IntRange(0), help="only nodes of this level; 0 for roots")
@click.option("--parent", help="only children of the node with this id; `root` for roots")
@click.option("--metadata", metavar="NAME=VALUE", help="only nodes whose metadata has this value")
@click.option("--search", help="part of any metadata value, or the beginning of the id")
@click.option("--created-from", type=instant_type, help="only nodes created at this time or later")
@click.option("--created-before", type=instant_type, help="only nodes created before this time")
@click.option("--deleted", is_flag=True, help="nodes in the trash")
@click.option("--page", default=1, show_default=True, type=click.IntRange(1))
@click.option("--size", default=50, show_default=True, type=click.IntRange(1, 1_000), help="nodes of a page")
def list_nodes(  # noqa: PLR0913 - one parameter per option of the command
    trees: Trees,
    *,
    hierarchy: str | None,
    level: int | None,
    parent: str | None,
    metadata: str | None,
    search: str | None,
    created_from: datetime | None,
    created_before: datetime | None,
    deleted: bool,
    page: int,
    size: int,
    as_json: bool,
) -> None:
    """List nodes, oldest first, one page at a time."""
    wanted = Filter(
        level=level,
        parent="" if parent == "root" else parent,
        created_from=created_from,
        created_before=created_before,
        metadata=None if metadata is None else pair_of(metadata),
        text=search,
        deleted=deleted,
    )
    nodes, total = page_of_nodes(trees, wanted, hierarchy=hierarchy, page=page, size=size)
    pages = -(-total // size)
    if as_json:
        print_json(NodePage(tuple(view_node(node) for _, node in nodes), total, page, size, pages))
        return
    print_stacked("", (_record(node) for _, node in nodes))
    echo(f"page {page} of {max(pages, 1)}, {plural(total, 'node')}")


@on_trees("show")
@click.argument("node")
@_revision_option
def show_node(trees: Trees, *, node: str, revision: int | None, as_json: bool) -> None:
    """Show a NODE: its data, content, position and revisions."""
    of = tree_of_node(trees, node)
    node_revision, revisions = of.find(node, revision=revision), of.revisions(node)
    if as_json:
        print_json(
            {**msgspec.to_builtins(view_node(node_revision)), "revisions": [view_revision(item) for item in revisions]}
        )
        return
    document, now = node_revision.document, utc_now()
    children = of.look(lambda state: len(state.children(node)))
    notes = [("hierarchy", document.hierarchy), ("parent", document.parent or "none: it is a root")]
    notes += [("created", when(document.created_at, now=now)), ("updated", when(document.updated_at, now=now))]
    if document.content is not None:
        notes.append(("content", f"{document.content.content_type}, SHA-256 {document.content.digest}"))
    notes += [("etag", node_revision.etag), ("revisions", f"{len(revisions)}"), ("children", f"{children:,}")]
    notes += ((f"data.{name}", _text(value)) for name, value in document.data.items())
    print_stacked("", [Stacked(document.id, node_revision.label, _facts(node_revision), notes)], wide=True)


@on_trees("subtree")
@click.argument("node")
@click.option("--depth", type=click.IntRange(0), help="number of levels below; default: all")
@click.option(
    "--nodes", default=1_000, show_default=True, type=click.IntRange(1, 10_000), help="maximum number of nodes"
)
def show_subtree(trees: Trees, *, node: str, depth: int | None, nodes: int, as_json: bool) -> None:
    """Show a NODE and its descendants, level by level."""
    branch = tree_of_node(trees, node).tree(node, max_depth=depth, max_nodes=nodes)
    if as_json:
        print_json(view_branch(branch))
    else:
        print_stacked("", _branches(branch, depth=0))


@on_trees("log")
@hierarchy_option
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="number of changes")
def show_log(trees: Trees, *, hierarchy: str | None, limit: int, as_json: bool) -> None:
    """Show the log of a tree, newest first: actor, change, time and reason."""
    changes = named_tree(trees, hierarchy).history(limit=limit)
    if as_json:
        print_json([view_change(change) for change in changes])
        return
    now = utc_now()
    print_stacked(
        "",
        (
            Stacked(
                f"#{change.sequence} {change.change}",
                "",
                (when(change.at, now=now),),
                [
                    ("", ", ".join(change.ids)),
                    ("", f"by {change.actor}: {change.reason}" if change.reason else f"by {change.actor}"),
                ],
            )
            for change in changes
        ),
    )


@on_trees("download")
@click.argument("node")
@_revision_option
@click.option(
    "--format", "chosen", type=click.Choice(("json", "csv", "parquet")), help="convert a table to this format"
)
@click.option("--output", type=click.Path(dir_okay=False), help="output file, or - for standard output")
def download_node(
    trees: Trees, *, node: str, revision: int | None, chosen: Any, output: str | None, as_json: bool
) -> None:
    """Write the content of a NODE to a file, or its data as JSON if it has no content."""
    from recsys_assets.api.table_formats import ending_of, read_rows, write_rows  # noqa: PLC0415 - other commands do not read rows

    of = tree_of_node(trees, node)
    node_revision = of.find(node, revision=revision)
    content = node_revision.document.content
    data = msgspec.json.encode(node_revision.document.data) if content is None else of.read_content(node_revision)
    ending = "json" if content is None else ending_of(content.content_type)
    if chosen is not None and content is not None and chosen != ending:
        data, ending = write_rows(read_rows(data, content.content_type, name=f"the content of {node}"), chosen), chosen
    name = output or f"artifact_{node}.{ending}"
    if name != "-" and Path(name).exists():
        raise InputError(f"{name} already exists: choose another file with --output")
    with click.open_file(name, "wb") as file:
        file.write(data)
    if name != "-":
        print_json({"file": name, "bytes": len(data)}) if as_json else echo(f"{name}: {len(data):,} bytes")


for _command in (
    *(list_nodes, show_node, show_subtree, show_log, download_node),
    *(save_node, revise_node, delete_node, restore_node),
):
    tree.add_command(_command)


def _record(node: NodeRevision) -> Stacked:
    notes = [("updated", when(node.document.updated_at, now=utc_now())), ("", _fields(node))]
    return Stacked(node.id, node.label, _facts(node), [note for note in notes if note[1]])


def _facts(node: NodeRevision) -> tuple[str, ...]:
    content = node.document.content
    facts = (f"revision {node.document.revision}",)
    return facts if content is None else (*facts, f"{content.size:,} bytes of {content.content_type}")


def _fields(node: NodeRevision, most: int = 1_000) -> str:
    return ", ".join(f"{name} {value}" for name, value in [*searchable(node.document.data).items()][:most])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _branches(branch: Branch, *, depth: int) -> Iterator[Stacked]:
    """Yield records of a node and its descendants, each indented below its parent."""
    indent = "  " * depth
    facts = [fields] if (fields := _fields(branch.node, _FIELDS)) else []
    if branch.total > len(branch.children):
        facts.append(f"({len(branch.children):,} of {branch.total:,} children are shown)")
    yield Stacked(f"{indent}{branch.node.id}", branch.node.label, facts)
    for child in branch.children:
        yield from _branches(child, depth=depth + 1)
