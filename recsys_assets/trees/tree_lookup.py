"""Search across the hierarchies of a store: trees by name or node, and pages of nodes."""

from collections.abc import Mapping

from recsys_assets.errors import ConfigurationError, NoSuchNodeError
from recsys_assets.messages import name_known
from recsys_assets.trees.log import Filter
from recsys_assets.trees.tree import ArtifactTree
from recsys_assets.trees.tree_reader import NodeRevision


def named_tree(trees: Mapping[str, ArtifactTree], name: str | None) -> ArtifactTree:
    """Return the tree of a name, or the only tree without one.

    Raises `ConfigurationError` that lists the existing trees.
    """
    if name is None and len(trees) == 1:
        return next(iter(trees.values()))
    if name is not None and name in trees:
        return trees[name]
    if not trees:
        raise ConfigurationError("no artifact tree is configured: add a table [hierarchies.<name>]")
    raise ConfigurationError(f"hierarchy {name!r}: {name_known(name or '', trees)}")


def tree_of_node(trees: Mapping[str, ArtifactTree], node: str, *, deleted: bool = False) -> ArtifactTree:
    """Return the tree of a node, with `deleted` also of one in the trash. Raises `NoSuchNodeError` if there is none."""
    message = f"node {node[:100]} is not in any tree"
    for tree in trees.values():
        states = tree.look(lambda state: (node in state.revisions, node in state.deleted, node in state.purged))
        if states[0] and (deleted or not states[1]):
            return tree
        if any(states):
            message = f"node {node} was deleted{', and can be restored for a while' if states[1] else ' permanently'}"
    raise NoSuchNodeError(message)


def page_of_nodes(
    trees: Mapping[str, ArtifactTree], wanted: Filter, *, hierarchy: str | None, page: int, size: int
) -> tuple[tuple[tuple[ArtifactTree, NodeRevision], ...], int]:
    """Return one page of the nodes that match a filter, each with its tree, and the total number of matches.

    Nodes are ordered by hierarchy, then oldest first.
    """
    start, total = (page - 1) * size, 0
    items: list[tuple[ArtifactTree, NodeRevision]] = []
    for tree in trees.values() if hierarchy is None else [named_tree(trees, hierarchy)]:
        nodes, count = tree.page(wanted, start=max(start - total, 0), size=size - len(items))
        items += ((tree, node) for node in nodes)
        total += count
    return tuple(items), total
