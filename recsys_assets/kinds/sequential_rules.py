"""Sequential rules: the items near an item in sessions, weighted by distance, and repeat visits to the item itself."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys_assets.compiled.arrays import Codes, Numbers, offsets_of
from recsys_assets.compiled.kernel_steps import Best, drain, offer
from recsys_assets.compiled.runtime import compiled, inlined
from recsys_assets.encoding.rows import KernelOutput, Rows
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import SEQUENTIAL_RULES_SHAPE
from recsys_assets.kinds.params import KEY_BYTES, MEMBER_BYTES, EventParams, Promise, TuningGrid
from recsys_assets.kinds.paths import Paths, fill_paths

REACH: Final = 10  # maximum distance of a rule, in distinct timestamps
# Weight of a pair at distance 1. It and its half are divisible by every distance up to REACH.
UNIT: Final = 5040
SCALE: Final = 1_000_000
_THOUSANDTHS: Final = 1000
RULES_GRID: Final = TuningGrid(scores=({"by_support": False}, {"by_support": True}), steps={"window_days": (7, 14, 28)})
_BLOCK = 2048  # items per task of a thread


class SequentialRulesParams(EventParams):
    """Parameters of the kind `sequential_rules`."""

    max_neighbors: int = Field(default=20, ge=1, description="maximum neighbours of an item; the best are kept")
    max_items: int = Field(default=100_000, ge=1, description="maximum items; those with the most sessions are kept")
    max_items_per_session: int = Field(
        default=200, ge=2, description="maximum distinct items; longer sessions are excluded and counted"
    )
    by_support: bool = Field(
        default=False,
        description="divide by the sessions of the item and by the fifth root of the neighbour's sessions, in "
        "millionths; otherwise values are sums of weights, 5040 at distance 1",
    )
    self_entry: bool = Field(
        default=False,
        description="include an item in its own list, by the sessions with repeat visits, for services that may "
        "show items again",
    )

    @property
    def native_only(self) -> str:
        """Names of the settings in use that only the native engine supports."""
        return " and ".join(filter(None, [super().native_only, "by_support" if self.by_support else ""]))

    @property
    def row_bytes(self) -> int:
        """Bytes of an item with the maximum number of neighbours."""
        return KEY_BYTES + self.max_neighbors * MEMBER_BYTES

    @property
    def promise(self) -> Promise:
        """Bounds of lists. They do not contain the item itself, unless `self_entry` is set."""
        return Promise(max_lists=self.max_items, max_members=self.max_neighbors, others=not self.self_entry)


class _Visits(NamedTuple):
    """The visits of paths by item: those to item `i` are `places[starts[i] : starts[i + 1]]` of the paths."""

    places: Codes
    starts: Numbers
    firsts: Numbers  # by visit of the paths: first visit of its session
    ends: Numbers  # by visit of the paths: end of its session


class _Scoring(NamedTuple):
    """Conversion of sums to scores: fifth roots of each item's sessions in thousandths. Empty to keep the sums."""

    roots: Numbers
    self_entry: bool


def find_rules(events: Events, params: SequentialRulesParams) -> KernelOutput:
    """List the best `max_neighbors` items around each item in sessions, by the sum of weights, ties by id.

    Reads `session_id`, `item_id` and `ts`. Rows must be in canonical order. An item counts once per timestamp.

    - Two visits of a session that are at most `REACH` distinct timestamps apart weigh `UNIT` / distance from the
      earlier to the later one, and half of that in the other direction. Visits of the same timestamp have no order:
      they weigh `UNIT` in both directions. Weights are integers, so sums do not depend on their order.
    - With `self_entry` an item is in its own list, with `UNIT` for each session with visits at several timestamps.
    - With `by_support` a sum is divided by `UNIT`, the item's sessions and the fifth root of the neighbour's sessions,
      in millionths. The self entry is not divided by the root, so it is a share of sessions.
    - Of more than `max_items` items, those with the most sessions are kept.

    Method: sequential rules after Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", 2018.
    """
    paths, left_out = fill_paths(events, max_items=params.max_items_per_session)
    scoring = _Scoring(_fifth_roots(paths.support) if params.by_support else np.empty(0, np.int64), params.self_entry)
    ids = events.ids["item_id"]
    items = _items_with_rules(paths, params)
    lengths, members, values = _best_rules(paths, items, scoring, params)
    rows = Rows(SEQUENTIAL_RULES_SHAPE, items, offsets_of(lengths), members, values, ids, ids)
    numbers = {
        "sessions": paths.sessions,
        "distinct_items": int(np.count_nonzero(paths.support)),
        "visits": len(paths.items),
    }
    return KernelOutput(rows, left_out, numbers)


def _fifth_roots(support: Numbers) -> Numbers:
    """Return the fifth root of each number in thousandths (int64), rounded down exactly on every machine."""
    roots = np.zeros(len(support), np.int64)
    for number in np.unique(support[support > 0]).tolist():
        root = round((number * 10**15) ** 0.2)
        while root**5 > number * 10**15:
            root -= 1
        while (root + 1) ** 5 <= number * 10**15:
            root += 1
        roots[support == number] = root
    return roots


def _items_with_rules(paths: Paths, params: SequentialRulesParams) -> Codes:
    """Return the `max_items` items with rules and the most sessions, in ascending order. Ties are resolved by id."""
    has_rule = np.zeros(len(paths.support), np.bool_)
    _mark_items(paths, has_rule)
    if params.self_entry:
        has_rule |= np.bincount(paths.items, minlength=len(has_rule)) > paths.support
    candidates = np.flatnonzero(has_rule)
    order = np.argsort(-paths.support[candidates], kind="stable")[: params.max_items]
    return np.sort(candidates[order]).astype(np.uint32)


@compiled
def _mark_items(paths: Paths, has_rule: NDArray[np.bool_]) -> None:
    """Mark the items that have another item within `REACH`. The nearest visits of a pair mark both."""
    for session in range(len(paths.offsets) - 1):
        end = paths.offsets[session + 1]
        for position in range(paths.offsets[session], end):
            item, after = paths.items[position], position + 1
            while after < end and paths.steps[after] - paths.steps[position] <= REACH:
                other = paths.items[after]
                if other != item:
                    has_rule[item] = True
                    has_rule[other] = True
                    break
                after += 1


def _best_rules(
    paths: Paths, items: Codes, scoring: _Scoring, params: SequentialRulesParams
) -> tuple[Numbers, Codes, Numbers]:
    """Return the lengths of the lists of `items` (int64), and all members (uint32) and values (int64)."""
    visits = _visits_by_item(paths)
    blocks = [items[first : first + _BLOCK] for first in range(0, len(items), _BLOCK)]
    size = min(params.max_neighbors, max(len(paths.support), 1))

    def work(block: Codes) -> tuple[Numbers, Codes, Numbers]:
        lengths = np.zeros(len(block), np.int64)
        members, values = np.empty(len(block) * size, np.uint32), np.empty(len(block) * size, np.int64)
        scratch = _new_scratch(len(paths.support), size)
        used = _fill_block(paths, visits, block, scoring, scratch, lengths, members, values)
        return lengths, members[:used].copy(), values[:used].copy()

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = list(pool.map(work, blocks))
    return (
        np.concatenate([np.empty(0, np.int64), *(block[0] for block in done)]),
        np.concatenate([np.empty(0, np.uint32), *(block[1] for block in done)]),
        np.concatenate([np.empty(0, np.int64), *(block[2] for block in done)]),
    )


def _visits_by_item(paths: Paths) -> _Visits:
    lengths = np.diff(paths.offsets)
    order = np.argsort(paths.items, kind="stable").astype(np.uint32)
    starts = offsets_of(np.bincount(paths.items, minlength=len(paths.support)).astype(np.int64))
    return _Visits(order, starts, np.repeat(paths.offsets[:-1], lengths), np.repeat(paths.offsets[1:], lengths))


class _Scratch(NamedTuple):
    """Working memory of a block: sums by item (zero between rows), the items of the current row, and the best."""

    sums: Numbers
    met: Codes
    best: Best


def _new_scratch(distinct_items: int, size: int) -> _Scratch:
    best = Best(np.empty(size, np.int64), np.empty(size, np.uint32))
    return _Scratch(np.zeros(distinct_items, np.int64), np.empty(distinct_items, np.uint32), best)


@compiled
def _fill_block(
    paths: Paths,
    visits: _Visits,
    block: Codes,
    scoring: _Scoring,
    scratch: _Scratch,
    lengths: Numbers,
    members: Codes,
    values: Numbers,
) -> int:
    used = 0
    for row in range(len(block)):
        item = block[row]
        met = _meet(paths, visits, item, scoring.self_entry, scratch)
        size = 0
        for other in scratch.met[:met]:
            value = _score(int(scratch.sums[other]), item, other, paths.support, scoring.roots)
            size = offer(scratch.best, size, value, other)
            scratch.sums[other] = 0
        drain(scratch.best, size, values, members, used)
        lengths[row] = size
        used += size
    return used


@inlined
def _meet(paths: Paths, visits: _Visits, item: int, self_entry: bool, scratch: _Scratch) -> int:  # noqa: FBT001 - compiled
    """Sum the weights of the visits around those to `item`. Returns the number of items found."""
    met, session, repeated = 0, np.int64(-1), False
    for position in visits.places[visits.starts[item] : visits.starts[item + 1]]:
        first, end = visits.firsts[position], visits.ends[position]
        step = paths.steps[position]
        after = np.int64(position) + 1
        while after < end and paths.steps[after] - step <= REACH:
            met = _add(scratch, met, item, paths.items[after], UNIT // max(paths.steps[after] - step, 1))
            after += 1
        before = np.int64(position) - 1
        while before >= first and step - paths.steps[before] <= REACH:
            distance = step - paths.steps[before]
            weight = UNIT // (2 * distance) if distance > 0 else UNIT
            met = _add(scratch, met, item, paths.items[before], weight)
            before -= 1
        if first != session:
            session, repeated = first, False
        elif self_entry and not repeated:
            repeated = True
            if scratch.sums[item] == 0:
                scratch.met[met] = item
                met += 1
            scratch.sums[item] += UNIT
    return met


@inlined
def _add(scratch: _Scratch, met: int, item: int, other: np.uint32, weight: int) -> int:
    """Add a weight to the sum of another item. Returns the number of items found so far."""
    if other != item:
        if scratch.sums[other] == 0:
            scratch.met[met] = other
            met += 1
        scratch.sums[other] += weight
    return met


@inlined
def _score(total: int, item: int, other: int, support: Numbers, roots: Numbers) -> int:
    if len(roots) == 0:
        return total
    share = total * SCALE // (UNIT * support[item])
    if other == item:
        return max(share, 1)
    return max(share * _THOUSANDTHS // roots[other], 1)
