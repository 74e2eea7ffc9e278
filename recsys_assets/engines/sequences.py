"""Session kinds as relations: items that co-occur, follow soon, or come new right after."""

from typing import Final

import narwhals as nw

from recsys_assets.encoding.rows import Excluded
from recsys_assets.engines.relation import (
    INSTANT,
    ITEM,
    KEY,
    MEMBER,
    NEGATED,
    SESSION,
    Counts,
    Definition,
    Frame,
    Keep,
    KindRelation,
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
from recsys_assets.kinds.item_seq import ItemSeqParams
from recsys_assets.kinds.sequential_rules import REACH, UNIT, SequentialRulesParams

_OTHER, _SHARED, ITEMS, EVENTS = "other_id", "shared", "items", "events"
_TIMES, _FIRST, _WEIGHT = "times", "first", "weight"
_STEP, _LATER, _BLOCK, _DISTANCE = "step", "later", "block", "distance"


def cooc(events: Frame, params: CoocParams, keep: Keep) -> KindRelation:
    """Count the sessions shared by two items, per item, highest first, ties by id. Reads SESSION and ITEM.

    An item counts once per session. Sessions with more than `max_items_per_session` distinct items are excluded before
    joins, which bounds the pairs per session by half the square of that number. Pairs under `min_support` are dropped.
    Of the remaining items the `max_items` with the most sessions are kept.
    """
    visited = keep(events.group_by(SESSION, ITEM).agg(number_of_rows().alias(EVENTS)))
    sessions, seen = short_sessions(visited, longest=params.max_items_per_session)
    visits = seen.select(SESSION, ITEM)
    support = visits.group_by(ITEM).agg(number_of_rows().alias(ITEMS))
    entries = _from_both_sides(keep(_met(visits, min_support=params.min_support)))
    rows = best_of_each_key(of_best_items(entries, support, most=params.max_items), most=params.max_neighbors)
    counts = side_by_side(
        session_counts(
            sessions,
            longest=params.max_items_per_session,
            met_twice=nw.col(ITEMS) * (nw.col(ITEMS) - 1),
        ),
        support.select(number_of_rows().alias("distinct_items")),
    )
    return KindRelation(rows, (KEY, NEGATED, MEMBER), counts)


def report_cooc(counts: Counts, rows: int) -> tuple[Excluded, dict[str, Scalar]]:
    """Return the exclusions, and the same numbers as the native kernel."""
    del rows
    numbers: dict[str, Scalar] = {name: counts[name] for name in ("sessions", "distinct_items")}
    return left_out_sessions(counts), numbers | {"pairs_met": counts["met_twice"] // 2}


def _met(visits: Frame, *, min_support: int) -> Frame:
    """Return the pairs with at least `min_support` shared sessions, each once."""
    others = visits.select(SESSION, nw.col(ITEM).alias(_OTHER))
    met = visits.join(others, on=SESSION).filter(nw.col(ITEM) < nw.col(_OTHER))
    return met.group_by(ITEM, _OTHER).agg(number_of_rows().alias(_SHARED)).filter(nw.col(_SHARED) >= min_support)


def _from_both_sides(pairs: Frame) -> Frame:
    sides = [
        as_entries(pairs, key=key, member=member, value=_SHARED) for key, member in ((ITEM, _OTHER), (_OTHER, ITEM))
    ]
    return nw.concat(sides)


def of_best_items(entries: Frame, support: Frame, *, most: int) -> Frame:
    """Return the entries of the items in the most sessions, ties by id."""
    with_neighbors = entries.group_by(KEY).agg(number_of_rows().alias(_SHARED)).select(KEY)
    ranked = with_neighbors.join(support, left_on=KEY, right_on=ITEM).with_columns((nw.col(ITEMS) * -1).alias(NEGATED))
    return entries.join(ranked.sort(NEGATED, KEY).head(most).select(KEY), on=KEY)


def short_sessions(seen: Frame, *, longest: int) -> tuple[Frame, Frame]:
    """Return all sessions with their distinct items and events, and the rows of `seen` in short enough sessions."""
    sessions = seen.group_by(SESSION).agg(number_of_rows().alias(ITEMS), total(EVENTS).alias(EVENTS))
    return sessions, seen.join(sessions.filter(nw.col(ITEMS) <= longest).select(SESSION), on=SESSION)


def session_counts(sessions: Frame, *, longest: int, **of_short: nw.Expr) -> Frame:
    """Return the numbers of included and excluded sessions, events of the excluded, and sums over the included."""
    long = nw.col(ITEMS) > longest
    counts = {
        "sessions": if_true(~long, whole(1)),
        "left_out": if_true(long, whole(1)),
        "left_out_events": if_true(long, nw.col(EVENTS)),
        **{name: if_true(~long, value) for name, value in of_short.items()},
    }
    row = sessions.select(value.alias(name) for name, value in counts.items())
    return row.select(total(name).alias(name) for name in counts)


def left_out_sessions(counts: Counts) -> Excluded:
    """Return the excluded sessions from the result of `session_counts`."""
    groups = counts["left_out"]
    return Excluded("sessions", groups=groups, of_groups=counts["sessions"] + groups, events=counts["left_out_events"])


COOC: Final = Definition((SESSION, ITEM), cooc, report_cooc)


def sequential_rules(events: Frame, params: SequentialRulesParams, keep: Keep) -> KindRelation:
    """Sum, per item, the weights of the items around it in sessions, highest first, ties by id.

    Reads SESSION, ITEM and INSTANT. Steps are the distinct timestamps of a session, and an item counts once per step. A
    visit is joined only with visits in its own block of `REACH` steps and in the next one, so that the join grows
    linearly with the length of a session.
    """
    visited = keep(events.group_by(SESSION, INSTANT, ITEM).agg(number_of_rows().alias(EVENTS)))
    seen = visited.group_by(SESSION, ITEM).agg(number_of_rows().alias(_TIMES), total(EVENTS).alias(EVENTS))
    sessions, short_visits = short_sessions(seen, longest=params.max_items_per_session)
    at = visited.join(short_visits.select(SESSION).unique(), on=SESSION)
    steps = _numbered(at.select(SESSION, INSTANT).unique(), by=INSTANT)
    visits = keep(at.join(steps, on=[SESSION, INSTANT]).select(SESSION, ITEM, _STEP))
    met = [_around(visits)]
    if params.self_entry:
        again = short_visits.filter(nw.col(_TIMES) > 1)
        met.append(again.select(nw.col(ITEM), nw.col(ITEM).alias(_OTHER), whole(UNIT).alias(_WEIGHT)))
    sums = nw.concat(met).group_by(ITEM, _OTHER).agg(total(_WEIGHT).alias(_WEIGHT))
    entries = keep(as_entries(sums, key=ITEM, member=_OTHER, value=_WEIGHT))
    support = short_visits.group_by(ITEM).agg(number_of_rows().alias(ITEMS))
    rows = best_of_each_key(of_best_items(entries, support, most=params.max_items), most=params.max_neighbors)
    counts = side_by_side(
        session_counts(sessions, longest=params.max_items_per_session),
        support.select(number_of_rows().alias("distinct_items")),
        visits.select(number_of_rows().alias("visits")),
    )
    return KindRelation(rows, (KEY, NEGATED, MEMBER), counts)


def item_seq(events: Frame, params: ItemSeqParams, keep: Keep) -> KindRelation:
    """Count, per item, the sessions in which another item is new at the next step with new items, ties by id.

    Reads SESSION, ITEM and INSTANT. Pairs under `min_support` are dropped. Of the remaining items those with the most
    sessions are kept. Lists are sorted by count, highest first.
    """
    first = nw.col(INSTANT).min().alias(_FIRST)
    seen = keep(events.group_by(SESSION, ITEM).agg(number_of_rows().alias(EVENTS), first))
    sessions, short_visits = short_sessions(seen, longest=params.max_items_per_session)
    steps = _numbered(short_visits.select(SESSION, _FIRST).unique(), by=_FIRST)
    visits = keep(short_visits.join(steps, on=[SESSION, _FIRST]).select(SESSION, ITEM, _STEP))
    after = visits.select(SESSION, nw.col(ITEM).alias(_OTHER), (nw.col(_STEP) - 1).alias(_STEP))
    pairs = keep(visits.join(after, on=[SESSION, _STEP]).group_by(ITEM, _OTHER).agg(number_of_rows().alias(_TIMES)))
    entries = as_entries(pairs.filter(nw.col(_TIMES) >= params.min_support), key=ITEM, member=_OTHER, value=_TIMES)
    support = short_visits.group_by(ITEM).agg(number_of_rows().alias(ITEMS))
    rows = best_of_each_key(of_best_items(keep(entries), support, most=params.max_items), most=params.max_next)
    counts = side_by_side(
        session_counts(sessions, longest=params.max_items_per_session),
        support.select(number_of_rows().alias("distinct_items")),
        pairs.select(number_of_rows().alias("pairs_met")),
    )
    return KindRelation(rows, (KEY, NEGATED, MEMBER), counts)


def report_sequences(counts: Counts, rows: int) -> tuple[Excluded, dict[str, Scalar]]:
    """Return the exclusions, and the same numbers as the native kernels."""
    del rows
    return left_out_sessions(counts), {
        name: number for name, number in counts.items() if not name.startswith("left_out")
    }


def _numbered(instants: Frame, *, by: str) -> Frame:
    """Return the distinct timestamps of sessions with their numbers, from 1, as _STEP."""
    ones = instants.with_columns(whole(1).alias(_STEP))
    return ones.with_columns(nw.col(_STEP).cum_sum().over(SESSION, order_by=by).cast(nw.Int64()))


def _around(visits: Frame) -> Frame:
    """Return, for each pair of visits within REACH, the weights in both directions, as ITEM, _OTHER and _WEIGHT."""
    block = nw.col(_STEP) // REACH
    blocks = visits.with_columns(block.alias(_BLOCK))
    later = [
        visits.select(SESSION, nw.col(ITEM).alias(_OTHER), nw.col(_STEP).alias(_LATER), (block - ahead).alias(_BLOCK))
        for ahead in (0, 1)
    ]
    met = (
        blocks.join(nw.concat(later), on=[SESSION, _BLOCK])
        .with_columns((nw.col(_LATER) - nw.col(_STEP)).alias(_DISTANCE))
        .filter((nw.col(_DISTANCE) >= 0) & (nw.col(_DISTANCE) <= REACH) & (nw.col(ITEM) != nw.col(_OTHER)))
    )
    forward = met.select(ITEM, _OTHER, _by_distance(1).alias(_WEIGHT))
    back = met.filter(nw.col(_DISTANCE) > 0).select(
        nw.col(_OTHER).alias(ITEM), nw.col(ITEM).alias(_OTHER), _by_distance(2).alias(_WEIGHT)
    )
    return nw.concat([forward, back])


def _by_distance(divisor: int) -> nw.Expr:
    """Return the weight of a pair by its distance in steps. Items of the same step have distance 1."""
    weight = whole(UNIT // divisor)
    for distance in range(2, REACH + 1):
        weight = nw.when(nw.col(_DISTANCE) == distance).then(whole(UNIT // (divisor * distance))).otherwise(weight)
    return weight


SEQUENTIAL_RULES: Final = Definition((SESSION, ITEM, INSTANT), sequential_rules, report_sequences)
ITEM_SEQ: Final = Definition((SESSION, ITEM, INSTANT), item_seq, report_sequences)
