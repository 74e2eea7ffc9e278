"""Scores of recommendations against what came next: hit rate, reciprocal rank and nDCG, from places of answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from recsys_assets.quality.recommending import Recommend
from recsys_assets.quality.tasks import Tasks

Floats: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"
Places: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"
_LOOK_UP = 0xFF  # after so many tasks the caller is asked whether to go on


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One recommender's answers: `places[n]` is where task n's next item stood, from 1 on; 0 where it was missing."""

    places: Places
    coverage: float  # share of the held-out events' items that were recommended at least once

    @property
    def hit_rate(self) -> float:
        """Share of tasks whose next item was among the first k."""
        return _mean(self.places > 0)

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank; what is missing counts 0."""
        return _mean(np.divide(1.0, self.places, out=np.zeros(len(self.places)), where=self.places > 0))

    @property
    def gains(self) -> Floats:
        """NDCG of each task: with one right answer, 1 / log2(place + 1)."""
        return np.where(self.places > 0, 1.0 / np.log2(np.maximum(self.places, 1) + 1.0), 0.0)

    @property
    def ndcg(self) -> float:
        """Mean nDCG at k over all tasks."""
        return _mean(self.gains)


def score(recommend: Recommend, tasks: Tasks, *, k: int, go_on: Callable[[], None] = lambda: None) -> Scores:
    """Return where each task's next item stood among the first `k`; `go_on` is called now and then, and may raise."""
    places = np.zeros(len(tasks.tasks), dtype=np.int64)
    shown: set[str] = set()
    for number, task in enumerate(tasks.tasks):
        if number & _LOOK_UP == 0:
            go_on()
        items = recommend(task, k)
        shown.update(items)
        if task.target in items:
            places[number] = items.index(task.target) + 1
    return Scores(places, len(shown & tasks.items) / len(tasks.items) if tasks.items else 0.0)


def _mean(values: "np.ndarray[tuple[int], np.dtype[np.float64 | np.bool_]]") -> float:
    return float(values.mean()) if len(values) else 0.0
