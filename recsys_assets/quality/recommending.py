"""Recommenders of a release: each kind by its own lookups, and one blend of them all."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from recsys_assets.quality.tasks import Task
from recsys_assets.serving.lookups import Neighbors, UserItems
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.snapshot import Snapshot

BLEND = "blend"
RECENT_ITEMS = 5  # of the items so far, how many ask for neighbours: what was seen long ago says little of what is next
FUSION = 60  # the constant of reciprocal rank fusion, as its authors chose it

Recommend: TypeAlias = Callable[[Task, int], Sequence[str]]


def recommenders(snapshot: Snapshot) -> dict[str, Recommend]:
    """Return, by kind, what answers a task with at most k items that the session has not seen, the best first.

    A kind is asked by the shape of its rows: one list of items as it is; neighbours of the last items, the nearer in
    the session the heavier; a user's own list. A kind without lists of items (tags, arrays) answers nothing and is
    left out. `blend` is the reciprocal rank fusion of all (Cormack, Clarke, Büttcher, SIGIR 2009).
    """
    found = {
        kind: recommend
        for kind, artifact in sorted(snapshot.artifacts.items())
        if artifact.rows is not None and (recommend := _by_shape(artifact.rows)) is not None
    }
    return {**found, BLEND: _blend(found)} if found else {}


def _by_shape(rows: Lookup[Any]) -> Recommend | None:
    if rows.form.close == b"}":
        return _in_order(rows)
    match next(iter(rows), None):
        case UserItems() | None:  # without rows there is nothing to find, whatever they would be
            return _of_user(rows)
        case Neighbors():
            return _beside(rows)
        case _:
            return None


def _in_order(rows: Lookup[Any]) -> Recommend:
    ranked: list[str] = []

    def recommend(task: Task, k: int) -> Sequence[str]:
        wanted = min(k + len(task.context), len(rows))
        ranked.extend(rows.row(number).item_id for number in range(len(ranked), wanted))
        return _unseen(ranked[:wanted], task, k)

    return recommend


def _of_user(rows: Lookup[Any]) -> Recommend:
    def recommend(task: Task, k: int) -> Sequence[str]:
        row = None if task.user is None else rows.find(task.user)
        return [] if row is None else _unseen((item.item_id for item in row.items), task, k)

    return recommend


def _beside(rows: Lookup[Any]) -> Recommend:
    def recommend(task: Task, k: int) -> Sequence[str]:
        weights: defaultdict[str, float] = defaultdict(float)
        for distance, item in enumerate(reversed(task.context[-RECENT_ITEMS:]), start=1):
            row = rows.find(item)
            for neighbor in () if row is None else row.items:
                weights[neighbor.item_id] += neighbor.count / distance
        return _unseen(_heaviest_first(weights), task, k)

    return recommend


def _blend(parts: Mapping[str, Recommend]) -> Recommend:
    def recommend(task: Task, k: int) -> Sequence[str]:
        weights: defaultdict[str, float] = defaultdict(float)
        for part in parts.values():
            for rank, item in enumerate(part(task, k), start=1):
                weights[item] += 1 / (FUSION + rank)
        return _heaviest_first(weights)[:k]

    return recommend


def _heaviest_first(weights: Mapping[str, float]) -> list[str]:
    return sorted(weights, key=lambda item: (-weights[item], item))


def _unseen(items: Iterable[str], task: Task, k: int) -> list[str]:
    seen = set(task.context)
    return list(islice((item for item in items if item not in seen), k))
