"""The law of kinds with a list per user: named users only, without the over-active, the best items first."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from pydantic import Field

from recsys_assets.compiled.grouping import NOBODY, count_codes, deal
from recsys_assets.compiled.ranking import Best, drain, offer
from recsys_assets.compiled.runtime import compiled
from recsys_assets.compiled.strings import Codes, Numbers, offsets_of
from recsys_assets.encoding.rows import Excluded, KernelOutput, Rows
from recsys_assets.events.events import Events
from recsys_assets.evidence import Scalar
from recsys_assets.kind_descriptions import Shape
from recsys_assets.kinds.params import EventParams, Promise
from recsys_assets.kinds.tallies import repeats_of

_THREADS = 2  # users are split among them; each thread has a scratch of its own


class UserParams(EventParams):
    """Parameters of every kind with a list per user."""

    max_items_per_user: int = Field(default=500, ge=1, description="a cut: the best items of a user are kept")
    max_events_per_user: int = Field(default=10_000, ge=1, description="more active users are left out and counted")

    @property
    def promise(self) -> Promise:
        """Bounded lists."""
        return Promise(max_members=self.max_items_per_user)


class Histories(NamedTuple):
    """The rows of each user that counts, in canonical order: those of `users[n]` lie from `offsets[n]` on."""

    users: Codes
    offsets: Numbers
    items: Codes
    kinds: Codes  # of events; empty if all weigh the same
    repeats: Codes  # how many events each row stands for; empty if each is one event


class Lists(NamedTuple):
    """The users' lists: that of `users[n]` is `members[offsets[n] : offsets[n + 1]]`, with a sum beside each."""

    offsets: Numbers
    members: Codes
    sums: Numbers

    @classmethod
    def room_for(cls, histories: Histories) -> "Lists":
        """Return room for as many entries as there are events."""
        room = len(histories.items)
        return cls(np.zeros(len(histories.users) + 1, np.int64), np.empty(room, np.uint32), np.empty(room, np.int64))


class UserScratch(NamedTuple):
    """What is worked on: a sum per item, all zero between two users, the items of this user, and the best of them."""

    sums: Numbers
    met: Codes
    best: Best


class Summed(NamedTuple):
    """The lists of all users as rows, who was left out, and the numbers that people watch."""

    rows: Rows
    left_out: Excluded
    numbers: Mapping[str, Scalar]


def list_users(events: Events, params: UserParams, shape: Shape, *, weights: Numbers, skipped: int = 0) -> KernelOutput:
    """Sum the events' weights per user and item, highest sum first; ties by item id; `max_items_per_user` are kept.

    `weights`: of each event kind by its code, the last for events without a kind; a single one weighs all events. The
    first `skipped` events of a user count for nothing, but the user stays. A user with more than `max_events_per_user`
    events is a robot more often than a person, and would cost most of the work: such users are left out whole.
    """
    return KernelOutput(*sum_users(events, params, shape, weights=weights, skipped=skipped))


def sum_users(events: Events, params: UserParams, shape: Shape, *, weights: Numbers, skipped: int = 0) -> Summed:
    """Return the lists that `list_users` builds, for kernels that go on from them."""
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
    """Deal the rows out to their users, without those of nobody and of the over-active; return their number."""
    known = len(events.ids["user_id"])
    users, repeats = events.codes["user_id"].fill_null(known).to_numpy(), repeats_of(events)
    counts = count_codes(users, size=known, repeats=repeats)
    heavy = counts > params.max_events_per_user
    left_out = Excluded(
        "users",
        groups=int(heavy.sum()),
        of_groups=int(np.count_nonzero(counts)),
        events=int(counts[heavy].sum()),
    )
    rows = np.where(heavy, 0, count_codes(users, size=known) if len(repeats) else counts)
    ends = offsets_of(rows)
    places = np.where(rows > 0, ends[:-1], NOBODY)

    def dealt(values: Codes) -> Codes:
        return deal(users, values, places=places.copy(), size=int(ends[-1])) if len(values) else values

    found = np.flatnonzero(rows)
    histories = Histories(
        users=found.astype(np.uint32),
        offsets=np.append(ends[found], ends[-1]),
        items=dealt(events.codes["item_id"].to_numpy()),
        kinds=dealt(_event_kinds(events) if weighted else np.empty(0, np.uint32)),
        repeats=dealt(repeats),
    )
    return histories, int(counts[~heavy].sum()), left_out


def _event_kinds(events: Events) -> Codes:
    """Return each row's event kind; what has none gets the code behind the last."""
    return events.codes["event"].fill_null(len(events.ids["event"])).to_numpy()


def _new_thread_scratch(distinct_items: int, params: UserParams) -> UserScratch:
    room = min(params.max_items_per_user, max(distinct_items, 1))
    best = Best(np.empty(room, np.int64), np.empty(room, np.uint32))
    return UserScratch(np.zeros(distinct_items, np.int64), np.empty(distinct_items, np.uint32), best)


def _sum_all(
    histories: Histories, weights: Numbers, skipped: int, scratch_of_thread: Sequence[UserScratch], lists: Lists
) -> int:
    """Fill all lists, a range of users for each scratch at the same time; return how many pairs there were."""
    shares = np.arange(len(scratch_of_thread) + 1) * histories.offsets[-1] // len(scratch_of_thread)
    bounds = np.searchsorted(histories.offsets, shares).tolist()
    bounds[-1] = len(histories.users)  # those whose events have all been passed over too
    with ThreadPoolExecutor(len(scratch_of_thread)) as pool:
        pairs = [
            pool.submit(_sum_lists, histories, first, last, weights, skipped, scratch, lists)
            for (first, last), scratch in zip(pairwise(bounds), scratch_of_thread, strict=True)
        ]
        found = sum(int(one.result()) for one in pairs)
    for first, last in pairwise(bounds):
        if 0 < first < last:
            _move_up(lists, first, last, start=int(histories.offsets[first]))
    return found


def _move_up(lists: Lists, first: int, last: int, *, start: int) -> None:
    """Put lists that were filled from `start` on right behind those before them."""
    free, end = int(lists.offsets[first]), int(lists.offsets[last])
    for values in (lists.members, lists.sums):
        values[free : free + end - start] = values[start:end]
    lists.offsets[first + 1 : last + 1] -= start - free


@compiled
def _sum_lists(
    histories: Histories, first: int, last: int, weights: Numbers, skipped: int, scratch: UserScratch, lists: Lists
) -> int:
    """Fill the lists of users from `first` up to `last` one after the other, where their events lie.

    Return how many pairs of user and item there were before the cut.
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
    """Sum the weights of each item in these rows, but for the first events; return how many items there are."""
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
