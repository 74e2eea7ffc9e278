"""Next-item tasks: a day split by time, and held-out sessions, each cut at one step."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
import polars as pl

from recsys_assets.events.events import ID_COLUMNS, Events

TASK_COLUMNS = ("ts", "session_id", "user_id", "item_id")
MAX_ITEMS: Final = 200  # Limit per session. Pair kinds also exclude longer sessions.
_STEP = "step"


class Task(msgspec.Struct, frozen=True):
    """Next-item task: a session's new items by timestamp, oldest first, its user, and the next items.

    Items with the same timestamp have no order: each of `targets` is equally the next item. If a whole session has a
    single timestamp, `context` is empty, and each item is a target with the others as context.
    """

    context: tuple[tuple[str, ...], ...]
    user: str | None
    targets: tuple[str, ...]


class Tasks(msgspec.Struct, frozen=True):
    """Tasks of held-out events, and the items in those events."""

    tasks: Sequence[Task]
    items: frozenset[str]


def next_item_tasks(events: Events, *, limit: int, seed: int, since: datetime | None = None) -> Tasks:
    """Return one task for each of at most `limit` sessions of `events`. Deterministic for a seed.

    `events` has `TASK_COLUMNS`, ordered by time. Only events from `since` on count, also as context. The steps of a
    session are the timestamps at which items first appeared in it. Sessions with a single item, or more than
    `MAX_ITEMS`, are excluded. Each session is cut between two random steps, so that short and long contexts are equally
    likely. There is one task per session, so that a bot's session has the weight of any other, and tasks are
    independent enough for resampling. Item names have no influence.
    """
    held = events.codes if since is None else events.codes.filter(pl.col("ts") >= since)
    random = np.random.default_rng(seed)
    visits = (
        held.select(TASK_COLUMNS)
        .unique(["session_id", "item_id"], keep="first", maintain_order=True)
        .with_columns((pl.col("ts").rank("dense").over("session_id") - 1).alias(_STEP))
    )
    sessions = (
        visits.group_by("session_id")
        .agg(items=pl.len(), steps=pl.col(_STEP).max() + 1)
        .filter(pl.col("items").is_between(2, MAX_ITEMS))
        .sort("session_id")
    )
    if len(sessions) > limit:
        sessions = sessions[np.sort(random.choice(len(sessions), size=limit, replace=False))]
    steps = sessions["steps"].to_numpy()
    cuts = np.where(steps > 1, random.integers(1, np.maximum(steps, 2)), 0)
    chosen = sessions.select("session_id", cut=pl.Series(cuts, dtype=pl.UInt32))
    items = events.ids["item_id"].gather(held["item_id"].unique())
    return Tasks(_decode(events, _cut(visits, chosen)), frozenset(items.to_list()))


def _cut(visits: pl.DataFrame, chosen: pl.DataFrame) -> pl.DataFrame:
    """Return per session the items of each step up to the cut, targets last, and its user before the cut."""
    selected = visits.join(chosen, on="session_id", how="inner", maintain_order="left").filter(
        pl.col(_STEP) <= pl.col("cut")
    )
    steps = selected.group_by("session_id", _STEP, maintain_order=True).agg(
        pl.col("item_id"), pl.col("user_id").max(), pl.col("cut").first()
    )
    # A session with a single timestamp has nothing before the cut, and its user reveals no target.
    is_context = (pl.col(_STEP) < pl.col("cut")) | (pl.col("cut") == 0)
    return (
        steps.sort("session_id", _STEP)
        .group_by("session_id", maintain_order=True)
        .agg(pl.col("item_id"), pl.col("user_id").filter(is_context).drop_nulls().last())
    )


def _decode(events: Events, cut_sessions: pl.DataFrame) -> list[Task]:
    items, users = events.ids["item_id"].to_list(), events.ids["user_id"].to_list()
    tasks: list[Task] = []
    for steps, user in cut_sessions.select("item_id", "user_id").iter_rows():
        *context, targets = [tuple(items[code] for code in step) for step in steps]
        tasks.append(Task(tuple(context), None if user is None else users[user], targets))
    return tasks


def cut_day(events: Events, *, held_out: float) -> datetime | None:
    """Return the timestamp from which on about the share `held_out` of a day's events lies. `events` has `ts`.

    At least one event is before it. None if all events have the same timestamp, or there are none.
    """
    instants = events.codes["ts"]
    later = instants.filter(instants > instants.min())
    if later.is_empty():
        return None
    return max(instants[min(round(len(instants) * (1 - held_out)), len(instants) - 1)], later[0])


def before(events: Events, instant: datetime) -> Events:
    """Return the events before `instant`, without ids that occur only in later events."""
    codes = events.codes.filter(pl.col("ts") < instant)
    names = [name for name in ID_COLUMNS if name in codes.columns]
    ids = {name: events.ids[name].gather(codes[name].drop_nulls().unique().sort()) for name in names}
    dense = [(pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in names]
    return Events(codes.with_columns(dense), ids)
