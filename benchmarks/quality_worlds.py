"""Sessions by day to judge artifacts on: a shop's real ones from a folder, or made up by a law that is known."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys_assets.events.events import Events

FIRST = date(2026, 1, 1)
Session = Sequence[str]  # distinct items, in the order in which they came


@dataclass(frozen=True, slots=True)
class World:
    """What is called how, and its sessions by day; a day without sessions is missing."""

    name: str
    message: str
    days: Mapping[date, Sequence[Session]]


def real_world(folder: Path) -> World:
    """Read one file of JSON lines a day, `2010-12-01.jsonl.gz` and the like; an invoice is a session."""
    days = {}
    for file in sorted(folder.glob("*.jsonl.gz")):
        sessions: dict[str, dict[str, None]] = {}
        for line in gzip.decompress(file.read_bytes()).splitlines():
            event = json.loads(line)
            sessions.setdefault(event["session_id"], {})[event["item_id"]] = None
        days[date.fromisoformat(file.name[:10])] = [list(sessions[name]) for name in sorted(sessions)]
    events = sum(len(session) for sessions in days.values() for session in sessions)
    message = f"{len(days)} days, {sum(map(len, days.values())):,} sessions, {events:,} distinct items of sessions"
    return World("Online Retail", message, days)


def law_world(*, days: int = 22, sessions: int = 250, items: int = 400, seed: int = 7) -> World:
    """Make up sessions of a law that drifts: items lie on a ring, and what comes next lies near what came last.

    A session begins with a popular item (Zipf); each next one is, with seven in ten, one to three steps on along the
    ring, else a popular one that has nothing to do with it. Every day a twentieth of the items move to another place.
    """
    random = np.random.default_rng(seed)
    popular = 1 / np.arange(1, items + 1) ** 0.9
    popular /= popular.sum()
    names = [f"i{n:03}" for n in range(items)]
    ring = random.permutation(items)
    found = {}
    for n in range(days):
        moved = random.choice(items, items // 20, replace=False)
        ring[moved] = ring[random.permutation(moved)]
        places = np.argsort(ring)
        found[FIRST + timedelta(days=n)] = [
            [names[item] for item in dict.fromkeys(_walk(random, ring, places, popular))] for _ in range(sessions)
        ]
    message = f"{days} days of {sessions} sessions, {items} items on a ring that drifts"
    return World("a law that is known", message, found)


def events_of(day: date, sessions: Sequence[Session]) -> Events:
    """Return a day's sessions as canonical events of nobody, in the order in which they stand."""
    frame = pl.DataFrame(
        [(f"{day} {number:06}", item) for number, session in enumerate(sessions) for item in session],
        schema={"session_id": pl.String, "item_id": pl.String},
        orient="row",
    )
    ids = {name: frame[name].unique().sort() for name in frame.columns}
    codes = frame.select(
        pl.int_range(pl.len()).cast(pl.Datetime("ns", "UTC")).alias("ts"),
        pl.lit(None, pl.UInt32).alias("user_id"),
        *(pl.col(name).replace_strict(ids[name], range(len(ids[name])), return_dtype=pl.UInt32) for name in ids),
    )
    return Events(codes, {**ids, "user_id": pl.Series("user_id", [], pl.String)})


def _walk(random: np.random.Generator, ring: np.ndarray, places: np.ndarray, popular: np.ndarray) -> list[int]:
    item = int(random.choice(len(ring), p=popular))
    walked = [item]
    for _ in range(int(random.integers(2, 9))):
        near = random.random() < 0.7
        step = int(random.integers(1, 4))
        item = int(ring[(places[item] + step) % len(ring)]) if near else int(random.choice(len(ring), p=popular))
        walked.append(item)
    return walked
