"""What is compared: our kinds with their settings, their blends, and the item-item models of the library `implicit`."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import numpy as np
from implicit.nearest_neighbours import BM25Recommender
from quality_worlds import World
from scipy.sparse import csr_matrix

from recsys_assets.encoding.codec import encode_content
from recsys_assets.events.events import Events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import merge_tallies, tally_day, with_ages
from recsys_assets.quality.comparison import Scores, score
from recsys_assets.quality.tasks import Task, Tasks
from recsys_assets.serving.recommending import BLEND, Recommender, recommenders
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import prove
from recsys_assets.settings.inputs import LimitSettings

TARGET = Target("shop", "home")
AT = datetime(2026, 1, 1, tzinfo=UTC)
MAX_BYTES = 2**32 - 1
MAX_SESSION_ITEMS = 200  # as by default: longer sessions prove nothing about pairs
BEFORE = {"window_days": 1, "max_items": 1000}
Days = Mapping[date, Events]
Answer = Callable[[Tasks, int], Scores]


@dataclass(frozen=True)
class Model:
    """One contender: its name, how many days it learns from, and what scores it once it has learned."""

    name: str
    window_days: int
    learn: Callable[[World, Days, date], Answer] = field(repr=False)


def one(name: str, kind: str, **settings: Any) -> Model:
    """Return one of our kinds with its settings: the kernel's rows, encoded, proven, and asked by the lookups."""
    params = KINDS[kind].params(**settings)

    def learn(world: World, days: Days, last: date) -> Answer:
        found = recommenders({kind: _rows(world, kind, params, days, last)})
        return lambda tasks, k: score(found[kind], tasks, k=k)

    return Model(name, params.window_days, learn)


def blended(name: str, window_days: int, *, fused: bool = False, **settings: Mapping[str, Any]) -> Model:
    """Return the blend of several kinds, each with its settings; `fused` by reciprocal ranks, as it was before."""

    def learn(world: World, days: Days, last: date) -> Answer:
        rows = {
            kind: _rows(world, kind, KINDS[kind].params(window_days=window_days, **own), days, last)
            for kind, own in settings.items()
        }
        found = recommenders(rows)
        if fused:
            del found[BLEND]
            return lambda tasks, k: _score_fused(found, tasks, k)
        return lambda tasks, k: score(found[BLEND], tasks, k=k)

    return Model(name, window_days, learn)


def peer(name: str, window_days: int) -> Model:
    """Return the library's strongest item-item model with its own defaults, but for the number of neighbours."""

    def learn(_world: World, days: Days, _last: date) -> Answer:
        near = _peer_neighbors(list(days.values()))
        return lambda tasks, k: score(Recommender(beside=lambda item: near.get(item, {})), tasks, k=k)

    return Model(name, window_days, learn)


def _rows(world: World, kind: str, params: Any, days: Days, last: date) -> Lookup[Any]:
    columns = KINDS[kind].reading(params).event_columns
    tallies = with_ages(
        [world.tally(day, columns) for day in sorted(days)], [(last - day).days for day in sorted(days)]
    )
    built = KINDS[kind].build(merge_tallies(tallies), params, LimitSettings()).rows
    window = Window.ending(last, days=params.window_days)
    blob = encode_content(built, kind=kind, target=TARGET, window=window, max_bytes=MAX_BYTES)
    served = prove(TARGET, kind, blob.ref.version, blob.data, name=kind)
    if served.rows is None:
        raise ValueError(kind)
    return served.rows


def _score_fused(parts: Mapping[str, Recommender], tasks: Tasks, k: int) -> Scores:
    """Score the reciprocal rank fusion of all kinds, equal ones by id: the blend of earlier versions."""
    known = {name: Recommender(part.of_user, cache(part.beside), part.fill) for name, part in parts.items()}
    lists = {name: list(part.fill()) for name, part in known.items()}
    parts = {
        name: Recommender(part.of_user, part.beside, lambda n=name: iter(lists[n])) for name, part in known.items()
    }
    numbers, shown, answered = np.zeros((3, len(tasks.tasks))), set[str](), 0
    for number, task in enumerate(tasks.tasks):
        for target in task.targets:
            found = _fuse(parts, task, target, k)
            shown.update(found)
            answered += bool(found) / len(task.targets)
            if target in found:
                place = found.index(target) + 1
                numbers[:, number] += np.array([1, 1 / place, 1 / np.log2(place + 1)]) / len(task.targets)
    coverage = len(shown & tasks.items) / max(len(tasks.items), 1)
    return Scores(*numbers, answered / max(len(tasks.tasks), 1), coverage)


def _fuse(parts: Mapping[str, Recommender], task: Task, target: str, k: int) -> list[str]:
    steps = task.context or (tuple(item for item in task.targets if item != target),)
    weights: defaultdict[str, float] = defaultdict(float)
    for part in parts.values():
        for rank, item in enumerate(part.recommend(task.user, steps, limit=k), start=1):
            weights[item] += 1 / (60 + rank)
    return sorted(weights, key=lambda item: (-weights[item], item))[:k]


def _peer_neighbors(days: Sequence[Events]) -> dict[str, dict[str, int]]:
    """Fit a model of the library, and return its neighbours in millionths."""
    pairs = merge_tallies([tally_day(day, ("session_id", "item_id")) for day in days])
    rows, columns = (pairs.codes[name].to_numpy() for name in ("session_id", "item_id"))
    short = np.bincount(rows)[rows] <= MAX_SESSION_ITEMS
    names = pairs.ids["item_id"].to_list()
    matrix = csr_matrix((np.ones(short.sum()), (rows[short], columns[short])), shape=(rows.max() + 1, len(names)))
    model = BM25Recommender(K=21, num_threads=1)  # an item is its own nearest neighbour
    model.fit(matrix, show_progress=False)
    near = model.similarity.tocoo()
    found: dict[str, dict[str, int]] = {}
    for item, other, value in zip(near.row.tolist(), near.col.tolist(), near.data.tolist(), strict=True):
        if item != other:
            found.setdefault(names[item], {})[names[other]] = max(1, round(value * 1_000_000))
    return found
