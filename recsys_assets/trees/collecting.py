"""Collection in artifact trees: nodes that were in the trash for the grace, and bytes of saves that never ended."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from recsys_assets.identity import parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import node_prefix
from recsys_assets.storage.store import Listed
from recsys_assets.trees.state import TreeState
from recsys_assets.trees.tree import ArtifactTree

_AT_ONCE: Final = 1_000  # ids of one entry of the log


@dataclass(frozen=True, slots=True)
class TreeCollection:
    """What a collection deleted for good, or, as a dry run, would delete, with what is still in the trash."""

    hierarchy: str
    applied: bool
    purged: tuple[str, ...]  # nodes whose grace is over
    unfinished: tuple[str, ...]  # ids of saves that did not end
    objects: tuple[Listed, ...]
    waiting: tuple[str, ...]  # nodes in the trash, within their grace
    nodes: int  # that are kept

    @property
    def message(self) -> str:
        """What happened, or would happen."""
        word = "deleted for good" if self.applied else "would be deleted for good"
        size = sum(item.size for item in self.objects)
        return (
            f"{plural(len(self.purged), 'node')} and {plural(len(self.unfinished), 'unfinished save')} {word}, "
            f"{size:,} bytes; {len(self.waiting)} wait in the trash, {self.nodes:,} are kept"
        )


def collect_tree(
    tree: ArtifactTree, *, grace: timedelta, now: datetime, by: Actor, apply: bool = False
) -> TreeCollection:
    """Delete for good what has been in the trash for the grace, and what saves left that ended longer ago than that.

    What is deleted is written into the log before: a save or a restore that comes later is judged by that, and no id
    ever comes back. So a delete that comes late hits nothing that is needed.
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
