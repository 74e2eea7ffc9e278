"""A generated shop with a known law of the next item: sessions start by Zipf's law and go round a ring of items."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_assets.events.events import Events

ITEMS, LENGTH, USERS = 200, 5, 500
SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class RingDay:
    """What a day is like: how many sessions, what their items are called, and what is wrong with them."""

    sessions: int = 1000
    prefix: str = "i"
    shuffled: bool = False  # labels drawn again: the law is another one
    robot_clicks: int = 0  # of one session on one item


def ring_sessions(seed: int, like: RingDay) -> tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]:
    """Return the items of each session, a row each, and the session's user: nine steps of ten lead to the next item."""
    random = np.random.default_rng(seed)
    shares = 1 / np.arange(1, ITEMS + 1)
    places = np.empty((like.sessions, LENGTH), np.int64)
    places[:, 0] = random.choice(ITEMS, like.sessions, p=shares / shares.sum())
    for step in range(1, LENGTH):
        leaps = random.random(like.sessions) < 0.1
        places[:, step] = np.where(leaps, random.integers(0, ITEMS, like.sessions), (places[:, step - 1] + 1) % ITEMS)
    if like.shuffled:
        places = np.random.default_rng(0).permutation(ITEMS)[places]
    return places, random.integers(0, USERS, like.sessions)


def ring_events(day: date, seed: int, like: RingDay | None = None) -> Events:
    """Return the canonical events of a day without a robot."""
    like = like or RingDay()
    places, users = ring_sessions(seed, like)
    start, gap = datetime(day.year, day.month, day.day, tzinfo=UTC), SECONDS_A_DAY // (like.sessions + 1)
    seconds = (np.arange(like.sessions)[:, None] * gap + np.arange(LENGTH)).ravel()
    codes = {
        "user_id": np.repeat(users, LENGTH),
        "session_id": np.repeat(np.arange(like.sessions), LENGTH),
        "item_id": places.ravel(),
    }
    frame = pl.DataFrame({name: values.astype(np.uint32) for name, values in codes.items()})
    ts = pl.lit(start).dt.cast_time_unit("ns") + pl.duration(seconds=pl.Series("second", seconds))
    ids = {"user_id": ("u", USERS), "session_id": ("s", like.sessions), "item_id": (like.prefix, ITEMS)}
    return Events(
        frame.with_columns(ts.alias("ts"), pl.lit(None, pl.UInt32).alias("event")),
        {name: pl.Series([f"{letter}{n:04}" for n in range(count)]) for name, (letter, count) in ids.items()}
        | {"event": pl.Series([], dtype=pl.String)},
    )


def write_ring_day(folder: Path, day: date, seed: int, like: RingDay | None = None) -> None:
    """Write a day's events as JSON lines."""
    like = like or RingDay()
    places, users = ring_sessions(seed, like)
    gap = SECONDS_A_DAY // (like.sessions + 1)
    lines = [
        _line(day, second=session * gap + step, session=f"s{session}", user=f"u{users[session]}", item=item, rank=step)
        for session, row in enumerate(places.tolist())
        for step, item in enumerate(f"{like.prefix}{place:04}" for place in row)
    ]
    lines += [
        _line(day, second=click % SECONDS_A_DAY, session="robot", user="robot", item=f"{like.prefix}0150", rank=click)
        for click in range(like.robot_clicks)
    ]
    (folder / f"{day}.jsonl").write_text("".join(lines))


def write_catalog(folder: Path, *, prefix: str = "i", first: int = 0) -> None:
    """Write the catalog of the ring's items, or of others, `first` being the lowest number."""
    rows = [{"item_id": f"{prefix}{n:04}", "tags": [f"t{n % 7}"]} for n in range(first, first + ITEMS)]
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _line(day: date, *, second: int, session: str, user: str, item: str, rank: int) -> str:
    at = f"{day}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
    return (
        f'{{"v":1,"ts":"{at}","tenant":"shop","surface":"home","session_id":"{session}","user_id":"{user}",'
        f'"item_id":"{item}","rank":{rank}}}\n'
    )
