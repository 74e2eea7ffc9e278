"""Co-occurrence as relations: distinct items of sessions joined with themselves, pairs counted, the best kept."""

from typing import Final

import narwhals as nw

from recsys_assets.encoding.rows import LeftOut
from recsys_assets.engines.relation import (
    ITEM,
    KEY,
    MEMBER,
    NEGATED,
    SESSION,
    Answer,
    Counts,
    Definition,
    Frame,
    Keep,
    as_entries,
    best_of_each_key,
    if_true,
    number_of_rows,
    side_by_side,
    total,
    whole,
)
from recsys_assets.evidence import Scalar
from recsys_assets.kinds.cooc import CoocParams

_OTHER, _SHARED, ITEMS, EVENTS = "other_id", "shared", "items", "events"


def cooc(events: Frame, params: CoocParams, keep: Keep) -> Answer:
    """Count the sessions in which two items met, per item, most first; ties by id. Reads SESSION and ITEM.

    An item counts once a session. Sessions of more than `max_items_per_session` distinct items are left out before
    anything is joined, so that no session makes more than half that number squared of pairs. Pairs under `min_support`
    are dropped; items that have neighbours then are kept by the number of their sessions, `max_items` of them.
    """
    visited = keep(events.group_by(SESSION, ITEM).agg(number_of_rows().alias(EVENTS)))
    sessions, seen = short_sessions(visited, longest=params.max_items_per_session)
    kept = seen.select(SESSION, ITEM)
    support = kept.group_by(ITEM).agg(number_of_rows().alias(ITEMS))
    entries = _from_both_sides(keep(_met(kept, min_support=params.min_support)))
    rows = best_of_each_key(of_best_items(entries, support, most=params.max_items), most=params.max_neighbors)
    counts = side_by_side(
        session_counts(
            sessions,
            longest=params.max_items_per_session,
            met_twice=nw.col(ITEMS) * (nw.col(ITEMS) - 1),
        ),
        support.select(number_of_rows().alias("distinct_items")),
    )
    return Answer(rows, (KEY, NEGATED, MEMBER), counts)


def report_cooc(counts: Counts, rows: int) -> tuple[LeftOut, dict[str, Scalar]]:
    """Return what was left out, and the numbers of the native kernel."""
    del rows
    numbers: dict[str, Scalar] = {name: counts[name] for name in ("sessions", "distinct_items")}
    return left_out_sessions(counts), numbers | {"pairs_met": counts["met_twice"] // 2}


def _met(kept: Frame, *, min_support: int) -> Frame:
    """Return the pairs that met often enough, each once."""
    others = kept.select(SESSION, nw.col(ITEM).alias(_OTHER))
    met = kept.join(others, on=SESSION).filter(nw.col(ITEM) < nw.col(_OTHER))
    return met.group_by(ITEM, _OTHER).agg(number_of_rows().alias(_SHARED)).filter(nw.col(_SHARED) >= min_support)


def _from_both_sides(pairs: Frame) -> Frame:
    sides = [as_entries(pairs, key=one, member=other, value=_SHARED) for one, other in ((ITEM, _OTHER), (_OTHER, ITEM))]
    return nw.concat(sides)


def of_best_items(entries: Frame, support: Frame, *, most: int) -> Frame:
    """Return the entries of the items that stand in the most sessions; ties by id."""
    with_neighbors = entries.group_by(KEY).agg(number_of_rows().alias(_SHARED)).select(KEY)
    ranked = with_neighbors.join(support, left_on=KEY, right_on=ITEM).with_columns((nw.col(ITEMS) * -1).alias(NEGATED))
    return entries.join(ranked.sort(NEGATED, KEY).head(most).select(KEY), on=KEY)


def short_sessions(seen: Frame, *, longest: int) -> tuple[Frame, Frame]:
    """Return all sessions with their distinct items and events, and what was seen in those that are short enough."""
    sessions = seen.group_by(SESSION).agg(number_of_rows().alias(ITEMS), total(EVENTS).alias(EVENTS))
    return sessions, seen.join(sessions.filter(nw.col(ITEMS) <= longest).select(SESSION), on=SESSION)


def session_counts(sessions: Frame, *, longest: int, **of_short: nw.Expr) -> Frame:
    """Return how many sessions count and how many are left out, with their events; and sums over those that count."""
    long = nw.col(ITEMS) > longest
    counts = {
        "sessions": if_true(~long, whole(1)),
        "left_out": if_true(long, whole(1)),
        "left_out_events": if_true(long, nw.col(EVENTS)),
        **{name: if_true(~long, value) for name, value in of_short.items()},
    }
    found = sessions.select(value.alias(name) for name, value in counts.items())
    return found.select(total(name).alias(name) for name in counts)


def left_out_sessions(counts: Counts) -> LeftOut:
    """Return the sessions that are left out, by what `session_counts` found."""
    groups = counts["left_out"]
    return LeftOut("sessions", groups=groups, of_groups=counts["sessions"] + groups, events=counts["left_out_events"])


COOC: Final = Definition((SESSION, ITEM), cooc, report_cooc)
