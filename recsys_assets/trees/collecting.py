"""Garbage collection of artifact trees: nodes in the trash beyond the grace period, and unfinished saves."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

import msgspec

from recsys_assets.identity import parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import node_prefix
from recsys_assets.storage.store import Listed
from recsys_assets.trees.log import TreeState
from recsys_assets.trees.tree import ArtifactTree

_AT_ONCE: Final = 1_000  # ids per log entry


class TreeCollection(msgspec.Struct, frozen=True):
    """Outcome of a collection: objects purged, or to be purged in a dry run, and nodes still in the trash."""

    hierarchy: str
    applied: bool
    purged: tuple[str, ...]  # nodes in the trash beyond the grace period
    unfinished: tuple[str, ...]  # ids of interrupted saves
    objects: tuple[Listed, ...]
    waiting: tuple[str, ...]  # nodes in the trash within the grace period
    nodes: int  # number of nodes kept

    @property
    def message(self) -> str:
        """One sentence about what happened, or would happen."""
        word = "permanently deleted" if self.applied else "would be permanently deleted"
        size = sum(item.size for item in self.objects)
        return (
            f"{plural(len(self.purged), 'node')} and {plural(len(self.unfinished), 'unfinished save')} {word}, "
            f"{size:,} bytes; {len(self.waiting)} in the trash, {self.nodes:,} kept"
        )


def collect_tree(
    tree: ArtifactTree, *, grace: timedelta, now: datetime, by: Actor, apply: bool = False
) -> TreeCollection:
    """Purge nodes that were in the trash for the grace period, and objects of saves interrupted before it.

    The log records a purge before any object is deleted, so later saves and restores of these ids are refused and no id
    is reused. Therefore a late delete never affects an object that is needed.
    """
    deleted, purged, living, count = tree.look(_of_state)
    ripe = [node for node, at in deleted.items() if now - parse_rfc3339(at) >= grace]
    by_node: defaultdict[str, list[Listed]] = defaultdict(list)
    prefix = node_prefix(tree.hierarchy.name)
    for item in tree.store.list(prefix):
        node = item.key[len(prefix) :].partition("/")[0]
        if node not in living and (node not in deleted or node in ripe):
            by_node[node].append(item)
    unfinished = [
        node
        for node, items in by_node.items()
        if node not in deleted
        and node not in purged
        and all(now.timestamp() - item.modified >= grace.total_seconds() for item in items)
    ]
    going = [*ripe, *unfinished]
    objects = [item for node in (*going, *(purged & by_node.keys())) for item in by_node[node]]
    if apply:
        for start in range(0, len(going), _AT_ONCE):
            tree.purge(going[start : start + _AT_ONCE], by=by)
        for item in objects:
            tree.store.delete(item.key)
    waiting = tuple(node for node in deleted if node not in ripe)
    return TreeCollection(tree.hierarchy.name, apply, tuple(ripe), tuple(unfinished), tuple(objects), waiting, count)


def _of_state(state: TreeState) -> tuple[dict[str, str], set[str], set[str], int]:
    deleted = {node: entry.at for node, entry in state.deleted.items()}
    return deleted, set(state.purged), state.revisions.keys() - deleted.keys(), len(state.living)
