"""Next-item tasks: sessions that no artifact has seen, each cut at one place: what came before, and what came next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from recsys_assets.events.events import Events

TASK_COLUMNS = ("ts", "session_id", "user_id", "item_id")


@dataclass(frozen=True, slots=True)
class Task:
    """One question with its answer: the session's distinct items so far, oldest first, its user, and the next item."""

    context: tuple[str, ...]
    user: str | None
    target: str


@dataclass(frozen=True, slots=True)
class Tasks:
    """The questions of held-out events, and the items that stand in those events: what could be recommended."""

    tasks: Sequence[Task]
    items: frozenset[str]


def next_item_tasks(events: Events, *, limit: int, seed: int, since: datetime | None = None) -> Tasks:
    """Return one task for each of at most `limit` sessions of `events`, the same ones for the same seed.

    `events` holds `TASK_COLUMNS`. Only events from `since` on count, as context too. A session is its distinct items in
    the order of their first appearance; one with a single item asks nothing. Sessions are cut at a random place, so
    that short and long contexts are asked alike; one task a session, so that a robot's session weighs as much as
    anybody's, and tasks are independent enough to be resampled.
    """
    held = events.codes if since is None else events.codes.filter(pl.col("ts") >= since)
    random = np.random.default_rng(seed)
    sessions = (
        held.group_by("session_id")
        .agg(pl.col("item_id").n_unique().alias("items"))
        .filter(pl.col("items") > 1)
        .sort("session_id")
    )
    if len(sessions) > limit:
        sessions = sessions[np.sort(random.choice(len(sessions), size=limit, replace=False))]
    cuts = random.integers(1, sessions["items"].to_numpy())
    asked = _cut(held, sessions, cuts)
    items = events.ids["item_id"].gather(held["item_id"].unique())
    return Tasks(_decode(events, asked), frozenset(items.to_list()))


def _cut(
    held: pl.DataFrame, sessions: pl.DataFrame, cuts: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> pl.DataFrame:
    """Return per session its first `cut + 1` distinct items as one list, the last of them the answer, and its user."""
    chosen = sessions.select("session_id", cut=pl.Series(cuts, dtype=pl.UInt32))
    return (
        held.join(chosen, on="session_id", how="inner", maintain_order="left")
        .unique(["session_id", "item_id"], keep="first", maintain_order=True)
        .group_by("session_id")
        .agg(
            pl.col("item_id").head(pl.col("cut").first() + 1),
            pl.col("user_id").head(pl.col("cut").first()).drop_nulls().last(),
        )
        .sort("session_id")
    )


def _decode(events: Events, asked: pl.DataFrame) -> list[Task]:
    items, users = events.ids["item_id"].to_list(), events.ids["user_id"].to_list()
    return [
        Task(tuple(items[code] for code in seen[:-1]), None if user is None else users[user], items[seen[-1]])
        for seen, user in asked.select("item_id", "user_id").iter_rows()
    ]
