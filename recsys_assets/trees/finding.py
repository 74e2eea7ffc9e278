"""Search over all hierarchies of a store: a tree by its name, the tree that has a node, a page of nodes."""

from collections.abc import Mapping

from recsys_assets.errors import ConfigurationError, NoSuchNodeError
from recsys_assets.messages import name_known
from recsys_assets.trees.reading import NodeRevision
from recsys_assets.trees.state import Filter
from recsys_assets.trees.tree import ArtifactTree


def named_tree(trees: Mapping[str, ArtifactTree], name: str | None) -> ArtifactTree:
    """Return the tree of a name, or the only one there is; `ConfigurationError` names those that there are."""
    if name is None and len(trees) == 1:
        return next(iter(trees.values()))
    if name is not None and name in trees:
        return trees[name]
    if not trees:
        raise ConfigurationError("no artifact tree is configured: add a table [hierarchies.<name>]")
    raise ConfigurationError(f"hierarchy {name!r}: {name_known(name or '', trees)}")


def tree_of_node(trees: Mapping[str, ArtifactTree], node: str, *, deleted: bool = False) -> ArtifactTree:
    """Return the tree that has a node, with `deleted` also in its trash; `NoSuchNodeError` says whether one had it."""
    why = f"node {node[:100]} is in no tree"
    for tree in trees.values():
        found = tree.look(lambda state: (node in state.revisions, node in state.deleted, node in state.purged))
        if found[0] and (deleted or not found[1]):
            return tree
        if any(found):
            why = f"node {node} was deleted{'; it can be restored for a while' if found[1] else ' for good'}"
    raise NoSuchNodeError(why)


def page_of_nodes(
    trees: Mapping[str, ArtifactTree], wanted: Filter, *, hierarchy: str | None, page: int, size: int
) -> tuple[tuple[tuple[ArtifactTree, NodeRevision], ...], int]:
    """Return one page of the nodes that are asked for, each with its tree, and how many there are in all.

    Hierarchies come one after the other, in each of them the oldest nodes first.
    """
    start, total = (page - 1) * size, 0
    items: list[tuple[ArtifactTree, NodeRevision]] = []
    for tree in trees.values() if hierarchy is None else [named_tree(trees, hierarchy)]:
        found, count = tree.page(wanted, start=max(start - total, 0), size=size - len(items))
        items += ((tree, node) for node in found)
        total += count
    return tuple(items), total
