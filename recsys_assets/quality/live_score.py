"""Score of the live release on a day that it has not seen: each kind's lists against the day's events.

Every question has one right answer, a list of the live release, and a chance level: the list's expected gain if the
day's answers were assigned to its questions at random. If ids were shuffled, renamed or assigned to other events, the
live lists score no better than chance, however long their window is.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray  # noqa: TC002 - as elsewhere in this room

from recsys_assets.encoding.rows import Rows
from recsys_assets.events.day_profile import LiveScore
from recsys_assets.events.events import Events

LENGTH = 20  # neighbours in a list
DISTANCE = 5  # maximum distance of two items of a session in a question
MAX_QUESTIONS = 5000
MAX_EVENTS = 50_000  # larger days are sampled by session
_ABSENT = np.int64(-1)

Codes: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"


class Visits(msgspec.Struct, frozen=True, eq=False):
    """A day's visits: the first event of each session on an item, ordered by session.

    `sessions`, `users` (-1: none) and `items` hold a code per visit. `ids[column]` holds the ids of a column's codes.
    """

    sessions: Codes
    users: Codes
    items: Codes
    ids: Mapping[str, pl.Series]


def score_live(visits: Visits, rows: Rows, *, window_days: int, age_days: int, seed: int = 1) -> LiveScore | None:
    """Score a kind's rows on a day's visits, or None for shapes that do not rank items.

    A single list is scored on every visit, lists per item on pairs of items at most `DISTANCE` apart in a session, and
    lists per user on the user's visits.
    """
    if not rows.shape.value or rows.shape.key not in (None, "item_id", "user_id"):
        return None
    items = _codes(visits.items, visits.ids["item_id"], rows.member_ids)
    random = np.random.default_rng(seed)
    if rows.shape.key is None:
        scored = _one_list(visits, items, rows)
    elif rows.shape.key == "item_id":
        keys = _codes(visits.items, visits.ids["item_id"], rows.key_ids)
        scored = _lists(*_pairs(visits, random), rows, keys=keys, items=items, most=LENGTH)
    else:
        sampled = np.flatnonzero(visits.users != _ABSENT)
        if len(sampled) > MAX_QUESTIONS:
            sampled = sampled[np.sort(random.choice(len(sampled), MAX_QUESTIONS, replace=False))]
        users, seen = visits.users[sampled], visits.items[sampled]
        keys = _codes(users, visits.ids["user_id"], rows.key_ids)
        scored = _lists(users, seen, users, rows, keys=keys, items=items, most=None)
    questions, gains, chances, groups = scored
    return LiveScore(
        questions=questions,
        answered=len(gains),
        gain=round(float(gains.mean()), 6) if len(gains) else 0.0,
        chance=round(float(chances.mean()), 6) if len(gains) else 0.0,
        error=round(_error(gains - chances, groups), 6),
        window_days=window_days,
        age_days=age_days,
        one_list=rows.shape.key is None,
        by_user=rows.shape.key == "user_id",
    )


def visits_of(events: Events) -> Visits:
    """Return the visits of a day. Large days are sampled by session."""
    codes = events.codes.select("session_id", "user_id", "item_id")
    every = -(-len(codes) // MAX_EVENTS)
    if every > 1:
        codes = codes.filter(pl.col("session_id") % every == 0)
    visits = (
        codes.lazy()
        .unique(["session_id", "item_id"], keep="first", maintain_order=True)
        .sort("session_id", maintain_order=True)
        .select(pl.all().cast(pl.Int64).fill_null(int(_ABSENT)))
        .collect()
    )
    sessions, users, items = (visits[name].to_numpy() for name in ("session_id", "user_id", "item_id"))
    return Visits(sessions, users, items, events.ids)


def _codes(visited: Codes, ids: pl.Series, live_ids: pl.Series) -> Codes:
    """Map each code of a day's column to the code of the same id in `live_ids`, or -1 if absent or not `visited`.

    `ids` are the ids of the day's codes.
    """
    own = np.unique(visited)
    table = pl.LazyFrame({"id": live_ids}).with_row_index("code")
    asked = pl.LazyFrame({"id": ids.gather(pl.Series(own))})
    joined = asked.join(table, on="id", how="left", maintain_order="left")
    codes = np.full(len(ids), _ABSENT)
    codes[own] = joined.select(pl.col("code").cast(pl.Int64).fill_null(int(_ABSENT))).collect().to_series().to_numpy()
    return codes


def _gains(ranks: "NDArray[Any]") -> Floats:
    """Return the nDCG of a right answer at each rank, from 0 on."""
    return 1.0 / np.log2(ranks + 2.0)


Scored: TypeAlias = "tuple[int, Floats, Floats, Codes]"


def _one_list(visits: Visits, items: Codes, rows: Rows) -> Scored:
    """Score a single list. Chance is the mean over the day's distinct items, as if their ids were permuted."""
    gain_of = np.zeros(len(rows.member_ids) + 1)  # the last entry is for absent items
    gain_of[rows.members] = _gains(np.arange(len(rows.members)))
    gains = gain_of[items[visits.items]]
    distinct = gain_of[items[np.unique(visits.items)]]
    chance = float(distinct.mean()) if len(distinct) else 0.0
    return len(gains), gains, np.full(len(gains), chance), visits.sessions


def _pairs(visits: Visits, random: np.random.Generator) -> tuple[Codes, Codes, Codes]:
    """Return the earlier items, later items and sessions of pairs of visits. Many pairs are sampled."""
    sessions, items = visits.sessions, visits.items
    starts = [np.flatnonzero(sessions[by:] == sessions[:-by]) for by in range(1, DISTANCE + 1)]
    first = np.concatenate(starts)
    second = first + np.repeat(np.arange(1, DISTANCE + 1), [len(at_distance) for at_distance in starts])
    if len(first) > MAX_QUESTIONS:
        chosen = random.choice(len(first), MAX_QUESTIONS, replace=False)
        first, second = first[chosen], second[chosen]
    return items[first], items[second], sessions[first]


def _lists(
    questions: Codes, answers: Codes, groups: Codes, rows: Rows, *, keys: Codes, items: Codes, most: int | None
) -> Scored:
    """Score lists per item or user. Chance assigns the answers at random among the answered questions."""
    row_of = np.full(len(rows.key_ids) + 1, _ABSENT)
    row_of[rows.keys] = np.arange(len(rows.keys))
    lists = row_of[keys[questions]]
    has = lists >= 0
    lists, answers, groups = lists[has], items[answers[has]], groups[has]
    starts = rows.offsets[lists]
    lengths = rows.offsets[lists + 1] - starts
    if most is not None:
        lengths = np.minimum(lengths, most)
    question = np.repeat(np.arange(len(lists)), lengths)
    rank = np.arange(len(question)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    member = rows.members[np.repeat(starts, lengths) + rank].astype(np.int64)
    gain = _gains(rank)
    right = member == answers[question]
    gains: Floats = np.bincount(question[right], weights=gain[right], minlength=len(lists)).astype(np.float64)
    share = np.bincount(answers + 1, minlength=len(rows.member_ids) + 1)[1:] / max(len(answers), 1)
    chances: Floats = np.bincount(question, weights=gain * share[member], minlength=len(lists)).astype(np.float64)
    return len(questions), gains, chances, groups


def _error(differences: Floats, groups: Codes) -> float:
    """Return the standard error of the mean, clustered by session or user."""
    if not len(differences):
        return 0.0
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.bincount(codes, weights=differences - differences.mean())
    return float(np.sqrt(np.square(sums).sum()) / len(differences))
