"""Next-item tasks: a day cut by time, and sessions that no artifact has seen, each cut at one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from recsys_assets.events.events import ID_COLUMNS, Events

TASK_COLUMNS = ("ts", "session_id", "user_id", "item_id")
MAX_ITEMS: Final = 200  # of a session that is asked about: kinds of pairs leave longer ones out, too
_STEP = "step"


@dataclass(frozen=True, slots=True)
class Task:
    """One question with its answers: a session's new items by instant, oldest first, its user, and what came next.

    Items of one instant have no order: each of `targets` is as much the next item as the others. Where a whole
    session is a single instant, `context` is empty, and each item is asked for with all the others as context.
    """

    context: tuple[tuple[str, ...], ...]
    user: str | None
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tasks:
    """The questions of held-out events, and the items that stand in those events: what could be recommended."""

    tasks: Sequence[Task]
    items: frozenset[str]


def next_item_tasks(events: Events, *, limit: int, seed: int, since: datetime | None = None) -> Tasks:
    """Return one task for each of at most `limit` sessions of `events`, the same ones for the same seed.

    `events` holds `TASK_COLUMNS` in order of time. Only events from `since` on count, as context too. A session is the
    steps of the instants at which items were first seen in it; one with a single item, or with more than `MAX_ITEMS`,
    asks nothing. Sessions are cut between two random steps, so that short and long contexts are asked alike; one task a
    session, so that a robot's session weighs as much as anybody's, and tasks are independent enough to be resampled.
    What items are called decides nothing.
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
    """Return per session the items of each step up to the cut, the answers last, and its user before the cut."""
    asked = visits.join(chosen, on="session_id", how="inner", maintain_order="left").filter(
        pl.col(_STEP) <= pl.col("cut")
    )
    steps = asked.group_by("session_id", _STEP, maintain_order=True).agg(
        pl.col("item_id"), pl.col("user_id").max(), pl.col("cut").first()
    )
    # Of a session in one instant nothing is before the cut, and its user is nobody's answer.
    known = (pl.col(_STEP) < pl.col("cut")) | (pl.col("cut") == 0)
    return (
        steps.sort("session_id", _STEP)
        .group_by("session_id", maintain_order=True)
        .agg(pl.col("item_id"), pl.col("user_id").filter(known).drop_nulls().last())
    )


def _decode(events: Events, asked: pl.DataFrame) -> list[Task]:
    items, users = events.ids["item_id"].to_list(), events.ids["user_id"].to_list()
    tasks: list[Task] = []
    for steps, user in asked.select("item_id", "user_id").iter_rows():
        *context, targets = [tuple(items[code] for code in step) for step in steps]
        tasks.append(Task(tuple(context), None if user is None else users[user], targets))
    return tasks


def cut_day(events: Events, *, held_out: float) -> datetime | None:
    """Return the instant from which on about the share `held_out` of a day's events is; `events` holds `ts`.

    Some events lie before it: where the first instant has more than its share, it is the next one. None if the whole
    day is a single instant, or has no events.
    """
    instants = events.codes["ts"]
    later = instants.filter(instants > instants.min())
    if later.is_empty():
        return None
    return max(instants[min(round(len(instants) * (1 - held_out)), len(instants) - 1)], later[0])


def before(events: Events, instant: datetime) -> Events:
    """Return the events before an instant; ids that only later events have are gone too."""
    codes = events.codes.filter(pl.col("ts") < instant)
    names = [name for name in ID_COLUMNS if name in codes.columns]
    ids = {name: events.ids[name].gather(codes[name].drop_nulls().unique().sort()) for name in names}
    dense = [(pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in names]
    return Events(codes.with_columns(dense), ids)
