"""Work on several targets at once, whose results come one target after the other, as if none had begun early."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Condition
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = Callable[[], Iterator[T]]


def run_in_order(works: Sequence[Work[T]], sizes: Sequence[int], *, at_once: int, small: int = 0) -> Iterator[T]:
    """Yield what each work yields, in the order of the works, while up to `at_once` of them are under way.

    They begin in order too. Those under way are together never larger, by `sizes`, than the largest is by itself, or
    than `small`: they need the memory that it needs in any case. What a work raises is raised where its results would
    have come. Then, and where nobody asks for more results, no work begins, and each that is under way ends as soon as
    it would yield; this returns after the last of them.
    """
    if at_once < 2 or len(works) < 2:  # noqa: PLR2004 - nothing to do beside it
        for work in works:
            yield from work()
        return
    room = _Capacity(sizes, max(small, *sizes))
    results: list[SimpleQueue[_Result[T]]] = [SimpleQueue() for _ in works]
    with ThreadPoolExecutor(min(at_once, len(works)), thread_name_prefix="target") as pool:
        try:
            for number, work in enumerate(works):
                pool.submit(_do, work, number, room, results[number])
            for queue in results:
                yield from _results_in(queue)
        finally:
            room.close()


def _do(work: Work[T], number: int, room: "_Capacity", results: "SimpleQueue[_Result[T]]") -> None:
    """Do a work when there is room for it, and put what it yields, and what ends it, into its queue."""
    error: BaseException | None = None
    if room.enter(number):
        try:
            for result in work():
                results.put(_Result([result]))
                if room.closed:
                    break
        except BaseException as raised:  # noqa: BLE001 - it is raised where the results are read
            error = raised
        room.leave(number)
    results.put(_Result([], is_last=True, error=error))


def _results_in(queue: "SimpleQueue[_Result[T]]") -> Iterator[T]:
    while not (result := queue.get()).is_last:
        yield from result.values
    if result.error is not None:
        raise result.error


@dataclass(frozen=True, slots=True)
class _Result(Generic[T]):
    values: Sequence[T]
    is_last: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class _Capacity:
    """Which works may be under way: the next in order, as soon as it fits beside those that are."""

    sizes: Sequence[int]
    most: int
    closed: bool = False
    _next: int = 0
    _used: int = 0
    _changed: Condition = field(default_factory=Condition)

    def enter(self, number: int) -> bool:
        """Wait for the turn of a work and for room; return False if it is not to begin any more."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or (self._next == number and self._fits(number)))
            if self.closed:
                return False
            self._next += 1
            self._used += self.sizes[number]
            self._changed.notify_all()
            return True

    def _fits(self, number: int) -> bool:
        return self._used + self.sizes[number] <= self.most

    def leave(self, number: int) -> None:
        """Make room for others."""
        with self._changed:
            self._used -= self.sizes[number]
            self._changed.notify_all()

    def close(self) -> None:
        """Let no work begin any more."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
