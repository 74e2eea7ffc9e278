"""How each model answers held-out sessions, and how sure a difference between two models is."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from quality_models import Model
from quality_worlds import World, events_of

from recsys_assets.quality.comparison import paired_interval
from recsys_assets.quality.scoring import Scores, score
from recsys_assets.quality.tasks import next_item_tasks
from recsys_assets.serving.recommending import Recommender

K = 20
FIRST_TEST = 8  # days with sessions that lie before the first one that is held out
CUTS = 5  # places at which each held-out session is cut
ROUNDS = 1000
MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Scored:
    """One model's numbers over all held-out days; `gains` holds one nDCG a session, the mean over its cuts."""

    model: Model
    hit_rate: float
    mrr: float
    coverage: float
    gains: NDArray[np.float64]

    @property
    def ndcg(self) -> float:
        """Mean nDCG over all sessions."""
        return float(self.gains.mean())


def score_model(world: World, model: Model) -> Scored:
    """Learn again before every held-out day, from days before it alone, and answer that day's tasks."""
    found: list[Scores] = []
    gains: list[NDArray[np.float64]] = []
    for day in sorted(world.days)[FIRST_TEST:]:
        first = day - timedelta(days=model.window_days)
        known = {one: sessions for one, sessions in world.days.items() if first <= one < day}
        recommend = model.learn(known, day - timedelta(days=1)) if known else Recommender()
        events = events_of(day, world.days[day])
        cuts = [score(recommend, next_item_tasks(events, limit=MANY, seed=seed), k=K) for seed in range(CUTS)]
        found += cuts
        gains.append(np.mean([one.gains for one in cuts], axis=0))
    sizes = [len(one.gains) for one in found]
    return Scored(
        model,
        hit_rate=float(np.average([one.hit_rate for one in found], weights=sizes)),
        mrr=float(np.average([one.mrr for one in found], weights=sizes)),
        coverage=float(np.average([one.coverage for one in found], weights=sizes)),
        gains=np.concatenate(gains),
    )


def difference(one: Scored, other: Scored) -> tuple[float, float, float]:
    """Return by how much nDCG is above the other's on the same sessions, and the interval of 95 resamples in 100."""
    gains = one.gains - other.gains
    return (float(gains.mean()), *paired_interval(gains, rounds=ROUNDS, seed=1, level=0.95))
