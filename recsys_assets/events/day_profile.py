"""Profile of a canonical day: counts and sketches small enough to compare the day with many earlier ones.

A sketch contains the smallest hashes of a set (bottom-k, Cohen and Kaplan 2007): the same hash function selects the
same members on every day, so that sketches of two days show their overlap. The hashes are defined in this module,
because a library could change its hash function.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray  # noqa: TC002 - as elsewhere in this room

from recsys_assets.events.events import Events

# Format 2 added repeats, sizes of sessions and users, replayed visits, and the score of the live release.
# Format 3 added whether the live lists are per user.
PROFILE_FORMAT = 3
ITEMS_KEPT = 2000  # Items of a day with their counts. Exact for days with fewer.
VISITS_KEPT = 500
FEWEST_SHARED = 10  # minimum items for a meaningful correlation
SURGE = 5  # multiple of the usual count
HOURS = 24
SIZES = 16  # size classes of sessions and users: 1 event, 2, up to 4, up to 8, and so on
RECENCY = 0.7  # weight of each day relative to the day after it, in the recent correlation
_NANOSECONDS_A_DAY = 86_400_000_000_000
_SHIFT = np.uint64(1)  # 63 bits, for JSON readers in other languages

Hashes: TypeAlias = "NDArray[np.uint64]"
Counts: TypeAlias = "NDArray[np.int64]"


class LiveScore(msgspec.Struct, frozen=True):
    """Score of one kind of the live release on a day's unseen events, compared with chance.

    `gain` is the mean nDCG over the questions for which the live release has a list, `chance` the expected gain of the
    same lists if the day's answers were assigned at random, and `error` the standard error of their difference.
    """

    questions: int  # questions of the day
    answered: int  # questions with a live list
    gain: float
    chance: float
    error: float
    window_days: int  # window of the live artifact: longer ones score higher
    age_days: int  # days from the last live day to this one
    one_list: bool = False  # one list for all users
    by_user: bool = False  # lists per user: unanswered questions are of unknown users

    @property
    def lift(self) -> float:
        """Gain of the live release above chance."""
        return self.gain - self.chance


class DayProfile(msgspec.Struct, frozen=True):
    """Numbers of a day that gates compare. Counts are of distinct events unless noted.

    `items` maps the hash of an item to its events. `moments` are hashes of (item, time of day), `visits` of (item, user
    or else session). Comparisons with earlier days are None if there are none.
    """

    day: str
    digest: str  # digest of the canonical object
    events: int
    delivered: int  # events before exact duplicates were dropped
    sessions: int
    users: int
    distinct_items: int
    near_duplicates: int  # events of a user, session, item and timestamp beyond the first
    anonymous: int  # events without a user
    top_item: int
    top_user: int
    top_session: int
    hours: tuple[int, ...]  # UTC
    items: Mapping[int, int]
    moments: tuple[int, ...]
    visits: tuple[int, ...]
    new_item_share: float | None = None  # share of events on items of no earlier ordinary day
    item_correlation: float | None = None  # correlation of item counts with those of earlier ordinary days
    shared_items: int = 0  # number of items in the correlation
    surge_share: float | None = None  # share of events beyond `SURGE` times the usual count of their items
    replayed_share: float | None = None  # share of the sketch contained in the most similar earlier day
    replayed_day: str | None = None
    refused: tuple[str, ...] = ()  # Gates that refused the day. A day without any is ordinary.
    repeats: int | None = None  # Events of a session and item beyond the first. None in format 1, like the following.
    session_sizes: tuple[int, ...] | None = None  # events by the number of events of their session, see `SIZES`
    user_sizes: tuple[int, ...] | None = None
    revisited_share: float | None = None  # as `replayed_share`, of (item, user or session) at any time of day
    revisited_day: str | None = None
    recent_correlation: float | None = None  # as `item_correlation`, days weighted by `RECENCY`
    live: Mapping[str, LiveScore] | None = None  # scores by kind
    v: int = 1


def profile_day(events: Events, *, day: str, digest: str, delivered: int) -> DayProfile:
    """Return the profile of a canonical day. `events` has all columns. The profile contains no user."""
    codes = events.codes
    items = _hash_ids(events.ids["item_id"])
    item_of = items[codes["item_id"].to_numpy()]
    since_midnight = codes["ts"].to_physical().to_numpy() % _NANOSECONDS_A_DAY
    moments = _mix(item_of ^ _mix(since_midnight.astype(np.uint64)))
    hours = np.bincount(since_midnight // (_NANOSECONDS_A_DAY // HOURS), minlength=HOURS)
    by_item, by_session, by_user = (_counts(codes[name]) for name in ("item_id", "session_id", "user_id"))
    return DayProfile(
        day=day,
        digest=digest,
        events=len(codes),
        delivered=delivered,
        sessions=int(np.count_nonzero(by_session)),
        users=int(np.count_nonzero(by_user)),
        distinct_items=int(np.count_nonzero(by_item)),
        near_duplicates=_near_duplicates(codes),
        anonymous=codes["user_id"].null_count(),
        top_item=int(by_item.max(initial=0)),
        top_user=int(by_user.max(initial=0)),
        top_session=int(by_session.max(initial=0)),
        hours=tuple(hours.tolist()),
        items=_sketch_items(items, by_item),
        moments=_smallest(moments, VISITS_KEPT),
        visits=_sketch_visits(events, item_of),
        repeats=_repeats(codes),
        session_sizes=_sizes(by_session),
        user_sizes=_sizes(by_user),
        v=PROFILE_FORMAT,
    )


def with_past(profile: DayProfile, past: Sequence[DayProfile]) -> DayProfile:
    """Return the profile with comparisons with earlier ordinary days, or unchanged if there are none."""
    if not past:
        return profile
    items = [earlier.items for earlier in past]
    correlated = correlation(profile.items, items)
    recent = correlation(profile.items, items, weights=[_weight(profile, earlier) for earlier in past])
    repeated = {earlier.day: contained_share(profile.moments, earlier.moments, limit=VISITS_KEPT) for earlier in past}
    revisited = {earlier.day: contained_share(profile.visits, earlier.visits, limit=VISITS_KEPT) for earlier in past}
    most = max(repeated, key=lambda day: repeated[day])
    most_visits = max(revisited, key=lambda day: revisited[day])
    return replace(
        profile,
        new_item_share=new_share(profile.items, items),
        item_correlation=None if correlated is None else correlated[0],
        shared_items=0 if correlated is None else correlated[1],
        recent_correlation=None if recent is None else recent[0],
        surge_share=surge_share(profile.items, items),
        replayed_share=repeated[most],
        replayed_day=most,
        revisited_share=revisited[most_visits],
        revisited_day=most_visits,
    )


def _weight(profile: DayProfile, earlier: DayProfile) -> float:
    age = date.fromisoformat(profile.day) - date.fromisoformat(earlier.day)
    return RECENCY**age.days


def contained_share(sketch: Sequence[int], other: Sequence[int], *, limit: int) -> float:
    """Return the share of one set contained in the other, by their sketches of at most `limit` hashes, 0 if empty."""
    bound = min((max(hashes) for hashes in (sketch, other) if len(hashes) >= limit), default=2**64)
    comparable = {item for item in sketch if item <= bound}
    return len(comparable & set(other)) / len(comparable) if comparable else 0.0


def new_share(items: Mapping[int, int], earlier: Sequence[Mapping[int, int]]) -> float:
    """Return the share of a day's events on items of no earlier day, within the common range of the sketches."""
    bound = _common_bound([items, *earlier])
    earlier_items = set[int]().union(*earlier)
    counts = {item: count for item, count in items.items() if item <= bound}
    total = sum(counts.values())
    return sum(count for item, count in counts.items() if item not in earlier_items) / total if total else 0.0


def correlation(
    items: Mapping[int, int], earlier: Sequence[Mapping[int, int]], *, weights: Sequence[float] | None = None
) -> tuple[float, int] | None:
    """Return Spearman's correlation of a day's item counts with the sums of earlier days, and the number of items.

    Only common items count, or None if they are fewer than `FEWEST_SHARED`, or all counts of one side are equal.
    """
    before = _added(earlier, weights)
    bound = _common_bound([items, *earlier])
    shared = [item for item in items if item <= bound and item in before]
    if len(shared) < FEWEST_SHARED:
        return None
    ranks = pl.DataFrame({"day": [items[i] for i in shared], "before": [before[i] for i in shared]}).select(
        pl.all().rank("average")
    )
    if (ranks.to_numpy().std(axis=0) == 0).any():
        return None
    return float(np.corrcoef(ranks.to_numpy(), rowvar=False)[0, 1]), len(shared)


def surge_share(items: Mapping[int, int], earlier: Sequence[Mapping[int, int]]) -> float:
    """Return the share of a day's events beyond `SURGE` times the usual count of their items on earlier days."""
    bound = _common_bound([items, *earlier])
    before = _added(earlier)
    now, then = (sum(count for item, count in side.items() if item <= bound) for side in (items, before))
    if not now or not then:
        return 0.0
    beyond = (
        max(count - SURGE * before[item] * now / then - SURGE, 0.0)
        for item, count in items.items()
        if item <= bound and item in before
    )
    return sum(beyond) / now


def _added(days: Sequence[Mapping[int, int]], weights: Sequence[float] | None = None) -> dict[int, float]:
    total: dict[int, float] = {}
    for day, weight in zip(days, weights or [1] * len(days), strict=True):
        for item, count in day.items():
            total[item] = total.get(item, 0) + count * weight
    return total


def _common_bound(sketches: Sequence[Mapping[int, int]]) -> int:
    return min((max(sketch) for sketch in sketches if len(sketch) >= ITEMS_KEPT), default=2**64)


def _counts(codes: pl.Series) -> Counts:
    """Return the number of occurrences of each code, in the order of codes (int64)."""
    return np.bincount(codes.drop_nulls().to_numpy()) if len(codes) else np.empty(0, np.int64)


def _repeats(codes: pl.DataFrame) -> int:
    """Return the number of events of a session and item beyond the first. Sorting takes half the time of hashing.

    Works in place, in 8 bytes per row, because large days have their peak of memory here.
    """
    pairs = codes["session_id"].fill_null(2**32 - 1).to_numpy().astype(np.uint64)
    pairs <<= np.uint64(32)
    pairs |= codes["item_id"].to_numpy()
    pairs.sort()
    return int(np.count_nonzero(pairs[1:] == pairs[:-1]))


def _near_duplicates(codes: pl.DataFrame) -> int:
    """Return the number of events with the user, session, item and timestamp of another. Rows are ordered by time."""
    ts = codes["ts"].to_physical().to_numpy()
    same = np.zeros(len(ts), np.bool_)
    same[1:] = ts[1:] == ts[:-1]
    same[:-1] |= same[1:]
    shared = codes.select("user_id", "session_id", "item_id", "ts").filter(pl.Series(same))
    return len(shared) - shared.n_unique() if len(shared) else 0


def _sizes(counts: Counts) -> tuple[int, ...]:
    """Return the number of events by the size of their group, in powers of two."""
    groups = counts[counts > 0]
    places = np.minimum(np.ceil(np.log2(groups)).astype(np.int64), SIZES - 1)
    return tuple(np.bincount(places, weights=groups, minlength=SIZES).astype(np.int64).tolist())


def _sketch_items(items: Hashes, counts: Counts) -> dict[int, int]:
    """Return the event counts of the items with the smallest hashes."""
    codes = np.flatnonzero(counts)
    order = codes[np.argsort(items[codes], kind="stable")][:ITEMS_KEPT]
    return dict(zip(items[order].tolist(), counts[order].tolist(), strict=True))


def _sketch_visits(events: Events, item_of: Hashes) -> tuple[int, ...]:
    """Return the smallest hashes of (item, user or session) among the items with the smallest hashes.

    So only the users and sessions of a bounded number of events are hashed.
    """
    wanted = min(4 * VISITS_KEPT, len(item_of))
    bound = np.partition(item_of, wanted - 1)[wanted - 1] if wanted else np.uint64(0)
    near = np.flatnonzero(item_of <= bound)
    order = near[np.argsort(item_of[near], kind="stable")][:wanted]
    chosen = events.codes[order.tolist()].select("user_id", "session_id")
    users = events.ids["user_id"].gather(chosen["user_id"])
    names = users.fill_null("").to_list(), events.ids["session_id"].gather(chosen["session_id"]).to_list()
    visitors = _hash_ids([user or session for user, session in zip(*names, strict=True)])
    return _smallest(_mix(item_of[order] ^ _mix(visitors)), VISITS_KEPT)


def _smallest(hashes: Hashes, limit: int) -> tuple[int, ...]:
    """Return the smallest distinct hashes, ascending. Faster than `np.unique`, which hashes again."""
    for most in (4 * limit, len(hashes)):
        ascending = np.sort(np.partition(hashes, most)[:most] if most < len(hashes) else hashes)
        distinct = ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(ascending) else ascending
        if len(distinct) >= limit or most >= len(hashes):
            break
    return tuple(distinct[:limit].tolist())


def _hash_ids(ids: pl.Series | list[str]) -> Hashes:
    if not len(ids):
        return np.empty(0, np.uint64)
    texts = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids)
    return np.frombuffer(texts, np.uint64) >> _SHIFT


def _mix(values: Any) -> Hashes:
    """Return the finaliser of SplitMix64 (Steele, Lea and Flood 2014) of each value, in 63 bits."""
    mixed = values.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) >> _SHIFT
