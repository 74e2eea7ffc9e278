"""Lists per user of identified users, without over-active ones: session sequence and implicit feedback."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from recsys_assets.compiled.arrays import Codes, Numbers, offsets_of
from recsys_assets.compiled.kernel_steps import UNWANTED, Best, count_codes, deal, drain, offer
from recsys_assets.compiled.runtime import compiled
from recsys_assets.encoding.rows import Excluded, KernelOutput, Rows
from recsys_assets.events.events import Events
from recsys_assets.evidence import Scalar
from recsys_assets.kind_descriptions import IMPLICIT_SHAPE, SESSION_SEQ_SHAPE, Shape
from recsys_assets.kinds.params import EventParams, Promise
from recsys_assets.kinds.tallies import repeats_of

_THREADS = 2  # users are split among threads, each of which has its own working memory
WEIGHT_SCALE = 1_000_000  # weights are summed in whole millionths: integer sums do not depend on their order
MAX_SCORE = 2**33  # below it distinct scores are distinct doubles, so each has a unique shortest text

Weight = Annotated[Decimal, Field(gt=0, lt=MAX_SCORE, decimal_places=6)]


class UserParams(EventParams):
    """Parameters of the kinds with a list per user."""

    max_items_per_user: int = Field(default=500, ge=1, description="maximum items of a user; the best are kept")
    max_events_per_user: int = Field(
        default=10_000, ge=1, description="maximum events; more active users are excluded and counted"
    )

    @property
    def promise(self) -> Promise:
        """Bounds of lists."""
        return Promise(max_members=self.max_items_per_user)


class Histories(NamedTuple):
    """The rows of each included user, in canonical order: those of `users[n]` begin at `offsets[n]`."""

    users: Codes
    offsets: Numbers
    items: Codes
    kinds: Codes  # kinds of the events, empty if all have the same weight
    repeats: Codes  # number of events of each row, empty if each row is one event


class Lists(NamedTuple):
    """The lists by user: that of `users[n]` is `members[offsets[n] : offsets[n + 1]]`, with a sum per member."""

    offsets: Numbers
    members: Codes
    sums: Numbers

    @classmethod
    def room_for(cls, histories: Histories) -> "Lists":
        """Return unfilled lists with space for one entry per row of `histories`."""
        capacity = len(histories.items)
        offsets = np.zeros(len(histories.users) + 1, np.int64)
        return cls(offsets, np.empty(capacity, np.uint32), np.empty(capacity, np.int64))


class UserScratch(NamedTuple):
    """Working memory of a thread: a sum per item (zero between users), the items of the current user, and the best."""

    sums: Numbers
    met: Codes
    best: Best


class Summed(NamedTuple):
    """The lists of all users as rows, the excluded users, and the recorded numbers."""

    rows: Rows
    left_out: Excluded
    numbers: Mapping[str, Scalar]


def list_users(events: Events, params: UserParams, shape: Shape, *, weights: Numbers, skipped: int = 0) -> KernelOutput:
    """Sum the weights of events per user and item, highest sum first, ties by item id. `max_items_per_user` are kept.

    `weights` (int64) are by code of the event kind, with the weight of events without a kind last. A single weight
    applies to all events. The first `skipped` events of a user are ignored, but the user keeps a list. Users with more
    than `max_events_per_user` events are excluded completely, because they are usually robots and would take most of
    the time.
    """
    return KernelOutput(*sum_users(events, params, shape, weights=weights, skipped=skipped))


def sum_users(events: Events, params: UserParams, shape: Shape, *, weights: Numbers, skipped: int = 0) -> Summed:
    """Return the lists of `list_users`, for kernels that process them further."""
    histories, counted, left_out = _histories(events, params, weighted=len(weights) > 1)
    ids = events.ids["item_id"]
    lists = Lists.room_for(histories)
    pairs = _sum_all(
        histories, weights, skipped, [_new_thread_scratch(len(ids), params) for _ in range(_THREADS)], lists
    )
    used = int(lists.offsets[-1])
    members, sums = lists.members[:used], lists.sums[:used]
    rows = Rows(shape, histories.users, lists.offsets, members, sums, events.ids["user_id"], ids)
    distinct_items = np.count_nonzero(count_codes(rows.members, size=len(ids)))
    numbers = {"events": counted, "distinct_items": int(distinct_items), "pairs": pairs}
    return Summed(rows, left_out, numbers)


def _histories(events: Events, params: UserParams, *, weighted: bool) -> tuple[Histories, int, Excluded]:
    """Group the rows by user, without anonymous and over-active ones. Returns their events and the exclusions."""
    distinct = len(events.ids["user_id"])
    users, repeats = events.codes["user_id"].fill_null(distinct).to_numpy(), repeats_of(events)
    counts = count_codes(users, size=distinct, repeats=repeats)
    heavy = counts > params.max_events_per_user
    left_out = Excluded(
        "users",
        groups=int(heavy.sum()),
        of_groups=int(np.count_nonzero(counts)),
        events=int(counts[heavy].sum()),
    )
    rows = np.where(heavy, 0, count_codes(users, size=distinct) if len(repeats) else counts)
    ends = offsets_of(rows)
    places = np.where(rows > 0, ends[:-1], UNWANTED)

    def dealt(values: Codes) -> Codes:
        return deal(users, values, places=places.copy(), size=int(ends[-1])) if len(values) else values

    included = np.flatnonzero(rows)
    histories = Histories(
        users=included.astype(np.uint32),
        offsets=np.append(ends[included], ends[-1]),
        items=dealt(events.codes["item_id"].to_numpy()),
        kinds=dealt(_event_kinds(events) if weighted else np.empty(0, np.uint32)),
        repeats=dealt(repeats),
    )
    return histories, int(counts[~heavy].sum()), left_out


def _event_kinds(events: Events) -> Codes:
    """Return the event kind of each row. Rows without one have the code after the last."""
    return events.codes["event"].fill_null(len(events.ids["event"])).to_numpy()


def _new_thread_scratch(distinct_items: int, params: UserParams) -> UserScratch:
    capacity = min(params.max_items_per_user, max(distinct_items, 1))
    best = Best(np.empty(capacity, np.int64), np.empty(capacity, np.uint32))
    return UserScratch(np.zeros(distinct_items, np.int64), np.empty(distinct_items, np.uint32), best)


def _sum_all(
    histories: Histories, weights: Numbers, skipped: int, scratch_of_thread: Sequence[UserScratch], lists: Lists
) -> int:
    """Fill all lists, one range of users per thread. Returns the number of pairs of user and item before the cut."""
    shares = np.arange(len(scratch_of_thread) + 1) * histories.offsets[-1] // len(scratch_of_thread)
    bounds = np.searchsorted(histories.offsets, shares).tolist()
    bounds[-1] = len(histories.users)  # includes users without any remaining event
    with ThreadPoolExecutor(len(scratch_of_thread)) as pool:
        tasks = [
            pool.submit(_sum_lists, histories, first, last, weights, skipped, scratch, lists)
            for (first, last), scratch in zip(pairwise(bounds), scratch_of_thread, strict=True)
        ]
        total = sum(int(task.result()) for task in tasks)
    for first, last in pairwise(bounds):
        if 0 < first < last:
            _move_up(lists, first, last, start=int(histories.offsets[first]))
    return total


def _move_up(lists: Lists, first: int, last: int, *, start: int) -> None:
    """Move lists that were filled from `start` on directly after the preceding ones."""
    free, end = int(lists.offsets[first]), int(lists.offsets[last])
    for values in (lists.members, lists.sums):
        values[free : free + end - start] = values[start:end]
    lists.offsets[first + 1 : last + 1] -= start - free


@compiled
def _sum_lists(
    histories: Histories, first: int, last: int, weights: Numbers, skipped: int, scratch: UserScratch, lists: Lists
) -> int:
    """Fill the lists of users from `first` up to `last`, starting at the offset of their events.

    Returns the number of pairs of user and item before the cut.
    """
    offsets, members, sums = lists
    used, pairs = histories.offsets[first], 0
    for n in range(first, last):
        met = _sum_items(histories, histories.offsets[n], histories.offsets[n + 1], weights, skipped, scratch)
        pairs += met
        size = 0
        for item in scratch.met[:met]:
            size = offer(scratch.best, size, int(scratch.sums[item]), item)
            scratch.sums[item] = 0
        drain(scratch.best, size, sums, members, used)
        used += size
        offsets[n + 1] = used
    return pairs


@compiled
def _sum_items(
    histories: Histories, start: int, stop: int, weights: Numbers, skipped: int, scratch: UserScratch
) -> int:
    """Sum the weights of each item in these rows, except the skipped events. Returns the number of items."""
    met = 0
    for row in range(start, stop):
        events = int(histories.repeats[row]) if len(histories.repeats) else 1
        passed = min(skipped, events)
        skipped -= passed
        if events == passed:
            continue
        item = histories.items[row]
        if scratch.sums[item] == 0:
            scratch.met[met] = item
            met += 1
        weight = weights[histories.kinds[row]] if len(histories.kinds) else weights[0]
        scratch.sums[item] += weight * (events - passed)
    return met


class SessionSeqParams(UserParams):
    """Parameters of the kind `session_seq`."""


def score_followers(events: Events, params: SessionSeqParams) -> KernelOutput:
    """Count the events of each user per item, except the user's first event. Highest first, ties by item id.

    Reads `user_id` and `item_id`. Rows must be in canonical order. A user with a single event has an empty list.
    """
    return list_users(events, params, SESSION_SEQ_SHAPE, weights=np.ones(1, np.int64), skipped=1)


class WeightedParams(UserParams):
    """Parameters of the kinds that sum the weights of a user's events."""

    weights: Mapping[str, Weight] = Field(
        default={"default": Decimal(1)},
        description="weight per `event` value, with up to six decimals; `default` for all other values",
    )

    @model_validator(mode="after")
    def _scores_are_exact(self) -> Self:
        heaviest = max(self.weights.values(), default=Decimal(1))
        if heaviest * self.max_events_per_user >= MAX_SCORE:
            raise ValueError(
                f"a weight of {heaviest} times max_events_per_user = {self.max_events_per_user} reaches {MAX_SCORE}, "
                "above which scores are not exact: lower one of them"
            )
        return self

    @field_validator("weights", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        """Convert floats by their shortest text: 0.1 in the file is one tenth, not the nearest binary number."""
        if not isinstance(value, Mapping):
            return value
        return {key: Decimal(repr(w)) if isinstance(w, float) else w for key, w in value.items()}

    def millionths(self, event: str | None) -> int:
        """Return the weight of an event kind in millionths. None is an event without a kind."""
        fallback = self.weights.get("default", Decimal(1))
        weight = fallback if event is None else self.weights.get(event, fallback)
        return int(weight * WEIGHT_SCALE)


def weights_of(events: Events, params: WeightedParams) -> Numbers:
    """Return the weight by event kind (int64, millionths). The last one is for events without a kind.

    Returns a single weight if all are equal.
    """
    kinds = [*events.ids["event"].to_list(), None] if params.weights.keys() - {"default"} else [None]
    weights = np.array([params.millionths(kind) for kind in kinds], np.int64)
    return weights if len(set(weights.tolist())) > 1 else weights[-1:]


class ImplicitParams(WeightedParams):
    """Parameters of the kind `implicit`."""


def score_items(events: Events, params: ImplicitParams) -> KernelOutput:
    """Sum the weights of events per user and item, highest sum first, ties by item id. Anonymous events are skipped.

    Reads `user_id`, `item_id` and `event`. Weights are whole millionths, so sums do not depend on their order. The
    scores are the raw counts r of Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", 2008.
    """
    return list_users(events, params, IMPLICIT_SHAPE, weights=weights_of(events, params))
