"""What is compared: our kernels with their settings, and the item-item models of the library `implicit`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from quality_worlds import Session, events_of
from scipy.sparse import csr_matrix

from recsys_assets.encoding.codec import encode
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.decay import with_ages
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import merge_tallies, tally_day
from recsys_assets.release.releases import versions_of
from recsys_assets.serving.loading import load_trial
from recsys_assets.serving.recommending import Recommender, recommenders
from recsys_assets.serving.served import prove
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.storage.memory import MemoryStore

NEIGHBORS = 50
MAX_SESSION_ITEMS = 200  # as by default: longer sessions prove nothing about pairs
TARGET = Target("shop", "home")
AT = datetime(2026, 1, 1, tzinfo=UTC)
MAX_BYTES = 100_000_000
Days = Mapping[date, Sequence[Session]]


@dataclass(frozen=True, slots=True)
class Model:
    """One contender: how many days it learns from, and what answers tasks after it has."""

    name: str
    window_days: int
    learn: Callable[[Days, date], Recommender] = field(repr=False)


def ours(kind: str, window_days: int, **settings: Any) -> Model:
    """Return one of our kinds under its settings: the kernel's rows, encoded, proven, and asked by their lookups."""
    params = KINDS[kind].params(window_days=window_days, **settings)

    def learn(days: Days, last: date) -> Recommender:
        tallies = [tally_day(events_of(day, days[day]), KINDS[kind].event_columns) for day in sorted(days)]
        ages = [(last - day).days for day in sorted(days)]
        rows = KINDS[kind].build(merge_tallies(with_ages(tallies, ages)), params, LimitSettings()).rows
        blob = encode(rows, kind=kind, target=TARGET, window=Window.ending(last, days=window_days), max_bytes=MAX_BYTES)
        served = prove(TARGET, kind, blob.ref.version, blob.data, name=kind)
        return recommenders(Snapshot(TARGET, "trial", AT, {kind: served}).lookups)[kind]

    message = "".join(f", {name} = {value}" for name, value in settings.items() if name != "max_items")
    return Model(f"{kind}{message}", window_days, learn)


def peers(window_days: int) -> list[Model]:
    """Return the library's item-item models with its own defaults, but for the number of neighbours."""

    def learns(kind: type[Any]) -> Callable[[Days, date], Recommender]:
        return lambda days, _: _learn_peer(kind, days)

    made = (CosineRecommender, TFIDFRecommender, BM25Recommender)
    return [Model(f"implicit's {kind.__name__}", window_days, learns(kind)) for kind in made]


def _learn_peer(kind: type[Any], days: Days) -> Recommender:
    """Fit a model of the library and put its neighbours, in millionths, into an artifact, to be asked as ours are."""
    sessions = [one for day in sorted(days) for one in days[day] if len(one) <= MAX_SESSION_ITEMS]
    names = sorted({item for session in sessions for item in session})
    code = {name: number for number, name in enumerate(names)}
    rows = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    columns = np.array([code[item] for session in sessions for item in session])
    matrix = csr_matrix((np.ones(len(columns)), (rows, columns)), shape=(len(sessions), len(names)))
    model = kind(K=NEIGHBORS + 1, num_threads=1)  # an item is its own nearest neighbour
    model.fit(matrix, show_progress=False)
    near = model.similarity.tocoo()
    found: dict[str, dict[str, int]] = {}
    for one, other, value in zip(near.row, near.col, near.data, strict=True):
        if one != other:
            found.setdefault(names[one], {})[names[other]] = max(1, round(float(value) * 1_000_000))
    store = MemoryStore()
    release = publish_fixture(store, TARGET.tenant, TARGET.surface, {"cooc": found}).release
    return recommenders(load_trial(store, TARGET, versions_of(release), at=AT).lookups)["cooc"]
