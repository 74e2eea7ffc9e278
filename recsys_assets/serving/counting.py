"""Counts of what a reader answers, by kind: exact under threads, without a lock where questions are answered."""

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

SAMPLED: Final = 63  # one question of 64 is timed: a clock costs more than a count


class ThreadCounter:
    """A number that threads raise by `next(tally.up)`, one step of the interpreter: none is lost, none waits."""

    __slots__ = ("_lock", "_looks", "up")

    def __init__(self) -> None:
        self.up = count()
        self._looks = 0
        self._lock = threading.Lock()

    @property
    def value(self) -> int:
        """How often it was raised; a look raises it, too, and is taken off."""
        with self._lock:
            value = next(self.up) - self._looks
            self._looks += 1
            return value


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """How often a kind was asked, and what for: `short` are lists that hold something and yet too little.

    `asked` is the sum of `answered` (a list with something in it), `empty`, `unknown` and `failed`.
    """

    asked: int
    empty: int
    short: int
    unknown: int
    failed: int

    def __add__(self, other: "AnswerCounts") -> "AnswerCounts":
        """Return the counts of both together."""
        return AnswerCounts(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def answered(self) -> int:
        """Questions that were answered with something."""
        return self.asked - self.empty - self.unknown - self.failed


class KindCounter:
    """Counts of one kind of one release; a forked child begins at zero, so that nothing counts twice."""

    def __init__(self) -> None:
        self.short_below = 1
        self.renew()

    def renew(self) -> None:
        """Begin at zero."""
        self.asked, self.empty, self.short, self.unknown, self.failed = (ThreadCounter() for _ in range(5))
        self._buckets = tuple(ThreadCounter() for _ in range(len(BUCKETS) + 1))

    def ask(self, find: Callable[[str], Any], key: str) -> Any:
        """Return what `find` finds, counted; None, for an id that the artifact does not have, counts as unknown.

        Raises what `find` raises: the package's errors are counted as failed.
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
        """Return what `find` finds, its time taken; a failure counts as failed and has no time."""
        begin = perf_counter()
        try:
            row = find(key)
        except RecsysAssetsError:
            next(self.failed.up)
            raise
        next(self._buckets[bisect_left(BUCKETS, perf_counter() - begin)].up)
        return row

    def note_few(self, found: int) -> None:
        """Count a list that holds less than `short_below` of those that were asked for."""
        next((self.short if found else self.empty).up)

    def counts(self) -> AnswerCounts:
        """Return the counts; what is counted meanwhile is in them or in the next ones."""
        # Parts first: a question that is under way is then one that was answered, never one that was not asked.
        parts = [tally.value for tally in (self.empty, self.short, self.unknown, self.failed)]
        return AnswerCounts(self.asked.value, *parts)

    def latencies(self) -> tuple[int, ...]:
        """Return how many of the timed questions took at most each of `BUCKETS` seconds and more than the one before.

        The last is of those beyond. One question of 64 is timed.
        """
        return tuple(tally.value for tally in self._buckets)


class ReleaseCounter:
    """Counts of one release by kind, since it was loaded."""

    def __init__(self, release_id: str, kinds: Iterable[str]) -> None:
        self.release_id = release_id
        self.short_below = 1
        self.kinds: Mapping[str, KindCounter] = {kind: KindCounter() for kind in kinds}
        renew_after_fork(self)

    def set_short_below(self, items: int) -> None:
        """Count lists of fewer than so many items as short."""
        self.short_below = max(items, 1)
        for counter in self.kinds.values():
            counter.short_below = max(items, 1)

    def after_fork(self) -> None:
        """Begin at zero in a forked child."""
        for counter in self.kinds.values():
            counter.renew()

    def counts(self) -> dict[str, AnswerCounts]:
        """Return the counts of the kinds that were asked."""
        found = {kind: counter.counts() for kind, counter in self.kinds.items()}
        return {kind: counts for kind, counts in found.items() if counts.asked}


def counts_by_release(counters: Iterable[ReleaseCounter]) -> dict[str, dict[str, AnswerCounts]]:
    """Return the counts by release and kind; several counters of one release are added up."""
    found: dict[str, dict[str, AnswerCounts]] = {}
    for one in counters:
        kinds = found.setdefault(one.release_id, {})
        for kind, counts in one.counts().items():
            kinds[kind] = kinds[kind] + counts if kind in kinds else counts
    return found
