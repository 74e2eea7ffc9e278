"""Score of the live release on a day that it has not seen: each kind's lists against what the day's events are on.

Every question has one right answer, a list of live, and a chance: what the list would be worth if the day's answers
were dealt to its questions at random. Ids that were shuffled, renamed or given to other events leave live with no more
than chance, however long its window is.
"""

from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray  # noqa: TC002 - as elsewhere in this room

from recsys_assets.encoding.rows import Rows
from recsys_assets.events.day_profile import LiveScore
from recsys_assets.events.events import Events

LENGTH = 20  # of neighbours that are asked
DISTANCE = 5  # items of a session between which live's neighbours are asked
MAX_QUESTIONS = 5000
MAX_EVENTS = 50_000  # of a larger day every so many sessions are asked
_ABSENT = np.int64(-1)

Codes: TypeAlias = "NDArray[np.int64]"
Floats: TypeAlias = "NDArray[np.float64]"


def score_live(events: Events, rows: Rows, *, window_days: int, age_days: int, seed: int = 1) -> LiveScore | None:
    """Return what a kind's rows are worth on a day's events; None for rows of a shape that ranks no items.

    One list is asked for every visit, a list per item for pairs of items at most `DISTANCE` apart in a session, a list
    per user for what the user visited. A visit is a session's first event on an item.
    """
    if not rows.shape.value or rows.shape.key not in (None, "item_id", "user_id"):
        return None
    visits = _visits(events)
    items = _codes(events, visits, "item_id", rows.member_ids)
    random = np.random.default_rng(seed)
    if rows.shape.key is None:
        scored = _one_list(visits, items, rows)
    elif rows.shape.key == "item_id":
        keys = _codes(events, visits, "item_id", rows.key_ids)
        scored = _lists(*_pairs(visits, random), rows, keys=keys, items=items, most=LENGTH)
    else:
        known = visits.drop_nulls("user_id")
        if len(known) > MAX_QUESTIONS:
            known = known[np.sort(random.choice(len(known), MAX_QUESTIONS, replace=False))]
        users, seen = (known[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
        keys = _codes(events, known, "user_id", rows.key_ids)
        scored = _lists(users, seen, users, rows, keys=keys, items=items, most=None)
    asked, gains, chances, groups = scored
    return LiveScore(
        questions=asked,
        answered=len(gains),
        gain=round(float(gains.mean()), 6) if len(gains) else 0.0,
        chance=round(float(chances.mean()), 6) if len(gains) else 0.0,
        error=round(_error(gains - chances, groups), 6),
        window_days=window_days,
        age_days=age_days,
        one_list=rows.shape.key is None,
        by_user=rows.shape.key == "user_id",
    )


def _visits(events: Events) -> pl.DataFrame:
    """Return the first event of each session and item, in order, sessions together; a sample of sessions if many."""
    codes = events.codes.select("session_id", "user_id", "item_id")
    every = -(-len(codes) // MAX_EVENTS)
    if every > 1:
        codes = codes.filter(pl.col("session_id") % every == 0)
    return codes.unique(["session_id", "item_id"], keep="first", maintain_order=True).sort(
        "session_id", maintain_order=True
    )


def _codes(events: Events, asked: pl.DataFrame, column: str, known: pl.Series) -> Codes:
    """Return, by each code of a day's column, the code of the same id among live's; -1 for ids that live has not.

    Only ids that are asked are looked for.
    """
    names, own = events.ids[column], asked[column].drop_nulls().unique()
    table = pl.DataFrame({"id": known}).with_row_index("code")
    found = pl.DataFrame({"id": names.gather(own)}).join(table, on="id", how="left", maintain_order="left")["code"]
    codes = np.full(len(names), _ABSENT)
    codes[own.to_numpy()] = found.cast(pl.Int64).fill_null(int(_ABSENT)).to_numpy()
    return codes


def _gains(ranks: "NDArray[Any]") -> Floats:
    """Return the nDCG of a right answer at each rank, from 0 on."""
    return 1.0 / np.log2(ranks + 2.0)


Scored: TypeAlias = "tuple[int, Floats, Floats, Codes]"


def _one_list(visits: pl.DataFrame, items: Codes, rows: Rows) -> Scored:
    """Score the one list; chance is the mean over the day's distinct items, as if their ids had been permuted."""
    gain_of = np.zeros(len(rows.member_ids) + 1)  # the last is that of absent items
    gain_of[rows.members] = _gains(np.arange(len(rows.members)))
    gains = gain_of[items[visits["item_id"].to_numpy()]]
    distinct = gain_of[items[visits["item_id"].unique().to_numpy()]]
    chance = float(distinct.mean()) if len(distinct) else 0.0
    return len(visits), gains, np.full(len(gains), chance), visits["session_id"].to_numpy().astype(np.int64)


def _pairs(visits: pl.DataFrame, random: np.random.Generator) -> tuple[Codes, Codes, Codes]:
    """Return the earlier items, the later items and the sessions of pairs of visits, a sample where they are many."""
    sessions, items = (visits[name].to_numpy().astype(np.int64) for name in ("session_id", "item_id"))
    places = [np.flatnonzero(sessions[by:] == sessions[:-by]) for by in range(1, DISTANCE + 1)]
    first = np.concatenate(places)
    second = first + np.repeat(np.arange(1, DISTANCE + 1), [len(one) for one in places])
    if len(first) > MAX_QUESTIONS:
        chosen = random.choice(len(first), MAX_QUESTIONS, replace=False)
        first, second = first[chosen], second[chosen]
    return items[first], items[second], sessions[first]


def _lists(
    asked: Codes, answers: Codes, groups: Codes, rows: Rows, *, keys: Codes, items: Codes, most: int | None
) -> Scored:
    """Score a list per item or user; chance deals the answered questions' answers among them."""
    row_of = np.full(len(rows.key_ids) + 1, _ABSENT)
    row_of[rows.keys] = np.arange(len(rows.keys))
    lists = row_of[keys[asked]]
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
    return len(asked), gains, chances, groups


def _error(differences: Floats, groups: Codes) -> float:
    """Return the standard error of the mean, the questions of a session or user taken as one."""
    if not len(differences):
        return 0.0
    _, codes = np.unique(groups, return_inverse=True)
    sums = np.bincount(codes, weights=differences - differences.mean())
    return float(np.sqrt(np.square(sums).sum()) / len(differences))
