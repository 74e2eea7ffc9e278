"""Sessions as baskets of distinct items, and as paths of steps, one per distinct timestamp."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import Codes, Numbers, offsets_of
from recsys_assets.compiled.kernel_steps import count_codes, deal
from recsys_assets.compiled.runtime import compiled
from recsys_assets.encoding.rows import Excluded
from recsys_assets.events.events import Events
from recsys_assets.kinds.tallies import repeats_of


class Paths(NamedTuple):
    """Visits to items, session by session, in order of time. An item occurs at most once per step.

    Visit `n` is to item `items[n]` (uint32) in step `steps[n]` (int64, from 0) of its session. Session `s` has the
    visits from `offsets[s]` up to `offsets[s + 1]` (int64). Within a step the order of visits has no meaning.
    """

    items: Codes
    steps: Numbers
    offsets: Numbers
    support: Numbers  # by item: number of these sessions with the item

    @property
    def sessions(self) -> int:
        """The number of sessions."""
        return len(self.offsets) - 1


def fill_paths(events: Events, *, max_items: int) -> tuple[Paths, Excluded]:
    """Return the sessions as paths, and the excluded ones: those of more than `max_items` distinct items.

    Reads `session_id`, `item_id` and `ts`. Rows must be in canonical order. They may be tallies.
    """
    sessions, items = (events.codes[name].to_numpy() for name in ("session_id", "item_id"))
    timestamps = events.codes["ts"].to_physical().to_numpy()
    distinct_items, distinct_sessions = len(events.ids["item_id"]), len(events.ids["session_id"])
    ends = offsets_of(count_codes(sessions, size=distinct_sessions))
    rows = deal(sessions, np.arange(len(items), dtype=np.uint32), places=ends[:-1].copy(), size=len(items))
    visited, steps = items[rows], np.empty(len(items), np.int64)
    offsets, left = np.zeros(distinct_sessions + 1, np.int64), np.zeros(distinct_sessions, np.bool_)
    support = np.zeros(distinct_items, np.int64)
    seen = np.full((2, distinct_items), -1, np.int64)
    kept_sessions = _walk(visited, timestamps[rows], ends, max_items, seen, steps, offsets, left, support)
    size = int(offsets[kept_sessions])
    left_out = _left_out(events, left, kept_sessions=kept_sessions)
    return Paths(visited[:size], steps[:size], offsets[: kept_sessions + 1], support), left_out


def _left_out(events: Events, left: NDArray[np.bool_], *, kept_sessions: int) -> Excluded:
    groups = int(left.sum())
    if not groups:
        return Excluded("sessions", of_groups=kept_sessions)
    sizes = count_codes(events.codes["session_id"].to_numpy(), size=len(left), repeats=repeats_of(events))
    return Excluded("sessions", groups=groups, of_groups=kept_sessions + groups, events=int(sizes[left].sum()))


@compiled
def _walk(  # noqa: PLR0913, PLR0917 - compiled code takes arrays by position
    items: Codes,
    timestamps: Numbers,
    ends: Numbers,
    max_items: int,
    seen: NDArray[np.int64],
    steps: Numbers,
    offsets: Numbers,
    left: NDArray[np.bool_],
    support: Numbers,
) -> int:
    """Move each session's visits to the front, without repeats within a step. Returns the number of kept sessions.

    By item, `seen[0]` is the last session with the item, and `seen[1]` the row at which the step of its last visit
    began.
    """
    kept_sessions = at = 0
    for session in range(len(ends) - 1):
        begin, step, step_row, distinct = at, 0, ends[session], 0
        for row in range(ends[session], ends[session + 1]):
            item = items[row]
            if timestamps[row] != timestamps[step_row]:
                step += 1
                step_row = row
            if seen[0, item] != session:
                seen[0, item] = session
                distinct += 1
            elif seen[1, item] == step_row:
                continue
            seen[1, item] = step_row
            items[at] = item
            steps[at] = step
            at += 1
        if distinct > max_items:
            left[session] = True
            at = begin
        elif at > begin:
            _count_items(items, begin, at, -2 - session, seen, support)
            kept_sessions += 1
            offsets[kept_sessions] = at
    return kept_sessions


@compiled
def _count_items(items: Codes, begin: int, end: int, mark: int, seen: NDArray[np.int64], support: Numbers) -> None:
    """Count the session once for each of its items."""
    for position in range(begin, end):
        item = items[position]
        if seen[1, item] != mark:
            seen[1, item] = mark
            support[item] += 1


class Baskets(NamedTuple):
    """The sparse matrix of sessions and items, for reading by item.

    Item `i` is in `starts[i + 1] - starts[i]` baskets. Basket `n`, for `starts[i] <= n < starts[i + 1]`, has the
    distinct items `items[begins[n] : ends[n]]`, in the order of the session's events. The bounds of a basket are stored
    once for each of its items, because a lookup in another table would cost more than all the counting.
    """

    items: Codes
    starts: Numbers
    begins: Codes
    ends: Codes

    @property
    def support(self) -> Numbers:
        """The number of baskets by item (int64)."""
        return np.diff(self.starts)

    @property
    def work(self) -> Numbers:
        """The total number of items in the baskets of each item, itself included (int64)."""
        sums = np.zeros(len(self.items) + 1, np.int64)
        np.cumsum(self.ends - self.begins, out=sums[1:])
        return np.diff(sums[self.starts])


def fill_baskets(events: Events, *, max_items: int) -> tuple[Baskets, Numbers, Excluded]:
    """Return the sessions as baskets, their codes (int64) in the order of the baskets, and the excluded ones.

    Reads `session_id` and `item_id`. Sessions of more than `max_items` distinct items are excluded.
    """
    sessions, items = (events.codes[name].to_numpy() for name in ("session_id", "item_id"))
    distinct_items = len(events.ids["item_id"])
    ends = offsets_of(count_codes(sessions, size=len(events.ids["session_id"])))
    dealt = deal(sessions, items, places=ends[:-1].copy(), size=len(items))
    offsets, left = np.zeros(len(ends), np.int64), np.zeros(len(ends) - 1, np.bool_)
    count = _drop_repeats(dealt, ends, max_items, np.full(distinct_items, -1, np.int64), offsets, left)
    dealt = dealt[: offsets[count]]
    starts = offsets_of(count_codes(dealt, size=distinct_items))
    begins, stops = np.empty(len(dealt), np.uint32), np.empty(len(dealt), np.uint32)
    _place(dealt, offsets[: count + 1], starts[:-1].copy(), begins, stops)
    kept_sessions = np.flatnonzero(~left & (np.diff(ends) > 0))
    return Baskets(dealt, starts, begins, stops), kept_sessions, _left_out(events, left, kept_sessions=count)


@compiled
def _drop_repeats(
    items: Codes, sessions: Numbers, max_items: int, seen_in: Numbers, offsets: Numbers, left: NDArray[np.bool_]
) -> int:
    """Move the distinct items of each session to the front, in their order. Returns the number of kept sessions."""
    baskets = at = 0
    for session in range(len(sessions) - 1):
        begin = at
        for position in range(sessions[session], sessions[session + 1]):
            item = items[position]
            if seen_in[item] != session:
                seen_in[item] = session
                items[at] = item
                at += 1
        if at - begin > max_items:
            left[session] = True
            at = begin
        elif at > begin:
            baskets += 1
            offsets[baskets] = at
    return baskets


@compiled
def _place(items: Codes, offsets: Numbers, places: Numbers, begins: Codes, ends: Codes) -> None:
    """Write the bounds of each item's baskets. Modifies `places`."""
    for basket in range(len(offsets) - 1):
        for position in range(offsets[basket], offsets[basket + 1]):
            item = items[position]
            begins[places[item]] = offsets[basket]
            ends[places[item]] = offsets[basket + 1]
            places[item] += 1
