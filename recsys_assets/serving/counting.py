"""Counts of the lookups of a reader by kind: exact under threads, without a lock in lookups."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass
from itertools import count
from time import perf_counter
from typing import Any, Final

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.serving.threads import renew_after_fork
from recsys_assets.upkeep.heartbeats import LATENCY_BOUNDS as BUCKETS

SAMPLED: Final = 63  # bit mask: one lookup in 64 is timed, because reading the clock costs more than counting


class ThreadCounter:
    """Counter that threads increment by `next(counter.up)`, an atomic step of the interpreter that needs no lock."""

    __slots__ = ("_lock", "_reads", "up")

    def __init__(self) -> None:
        self.up = count()
        self._reads = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """Number of increments. Reading it increments it as well, which is subtracted."""
        with self._lock:
            value = next(self.up) - self._reads
            self._reads += 1
            return value


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Number of lookups in a kind by result. `short` are lists that are not empty but have too few items.

    `asked` is the sum of `answered` (a list that is not empty), `empty`, `unknown` and `failed`.
    """

    asked: int
    empty: int
    short: int
    unknown: int
    failed: int

    def __add__(self, other: "AnswerCounts") -> "AnswerCounts":
        """Return the sum of both counts."""
        return AnswerCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def answered(self) -> int:
        """Lookups whose result is not empty."""
        return self.asked - self.empty - self.unknown - self.failed


class KindCounter:
    """Counts of one kind of one release. A forked child starts at zero, so that no lookup counts twice."""

    def __init__(self) -> None:
        self.short_below = 1
        self.renew()

    def renew(self) -> None:
        """Reset all counts to zero."""
        self.asked, self.empty, self.short, self.unknown, self.failed = (ThreadCounter() for _ in range(5))
        self._buckets = tuple(ThreadCounter() for _ in range(len(BUCKETS) + 1))

    def ask(self, find: Callable[[str], Any], key: str) -> Any:
        """Return the result of `find` and count it. None, for an id that is not in the artifact, counts as unknown.

        Raises whatever `find` raises. The package's errors count as failed.
        """
        if next(self.asked.up) & SAMPLED:
            try:
                row = find(key)
            except RecsysAssetsError:
                next(self.failed.up)
                raise
        else:
            row = self.time(find, key)
        if row is None:
            next(self.unknown.up)
        return row

    def time(self, find: Callable[[str], Any], key: str) -> Any:
        """Return the result of `find` and record its duration. An error counts as failed and has no duration."""
        begin = perf_counter()
        try:
            row = find(key)
        except RecsysAssetsError:
            next(self.failed.up)
            raise
        next(self._buckets[bisect_left(BUCKETS, perf_counter() - begin)].up)
        return row

    def note_few(self, length: int) -> None:
        """Count a list with fewer than `short_below` items as short, or as empty if `length` is 0."""
        next((self.short if length else self.empty).up)

    def counts(self) -> AnswerCounts:
        """Return the counts. Lookups made in the meantime are in these counts or in the next."""
        # Parts first: a lookup in progress then appears as answered, never as a part without a lookup.
        parts = [counter.value for counter in (self.empty, self.short, self.unknown, self.failed)]
        return AnswerCounts(self.asked.value, *parts)

    def latencies(self) -> tuple[int, ...]:
        """Return the number of timed lookups in each interval between two bounds of `BUCKETS`, in seconds.

        The last number counts lookups beyond the last bound. One lookup in 64 is timed.
        """
        return tuple(counter.value for counter in self._buckets)


class ReleaseCounter:
    """Counts of one release by kind, since it was loaded."""

    def __init__(self, release_id: str, kinds: Iterable[str]) -> None:
        self.release_id = release_id
        self.short_below = 1
        self.kinds: Mapping[str, KindCounter] = {kind: KindCounter() for kind in kinds}
        renew_after_fork(self)

    def set_short_below(self, items: int) -> None:
        """Set the number of items below which a list counts as short."""
        self.short_below = max(items, 1)
        for counter in self.kinds.values():
            counter.short_below = max(items, 1)

    def after_fork(self) -> None:
        """Reset all counts to zero in a forked child."""
        for counter in self.kinds.values():
            counter.renew()

    def counts(self) -> dict[str, AnswerCounts]:
        """Return the counts of the kinds that had lookups."""
        kind_counts = {kind: counter.counts() for kind, counter in self.kinds.items()}
        return {kind: counts for kind, counts in kind_counts.items() if counts.asked}


def counts_by_release(counters: Iterable[ReleaseCounter]) -> dict[str, dict[str, AnswerCounts]]:
    """Return the counts by release and kind. Several counters of one release are added up."""
    totals: dict[str, dict[str, AnswerCounts]] = {}
    for counter in counters:
        kinds = totals.setdefault(counter.release_id, {})
        for kind, counts in counter.counts().items():
            kinds[kind] = kinds[kind] + counts if kind in kinds else counts
    return totals
