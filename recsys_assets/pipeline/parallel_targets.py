"""Concurrent tasks on several targets. Their results are yielded in task order, as in a sequential run."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Condition
from typing import Generic, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")
Task: TypeAlias = Callable[[], Iterator[T]]


def run_in_order(tasks: Sequence[Task[T]], sizes: Sequence[int], *, at_once: int, small: int = 0) -> Iterator[T]:
    """Yield the results of each task, in the order of `tasks`, while up to `at_once` tasks run.

    Tasks also start in that order. The sum of the `sizes` of the running tasks never exceeds the largest single size,
    or `small` if that is larger: running them together needs no more memory than the largest task needs alone.

    An error of a task is raised in place of its remaining results. After an error, and when the caller stops iterating,
    no further task starts, and each running task ends at its next result. This function returns after the last of them.
    """
    if at_once < 2 or len(tasks) < 2:  # noqa: PLR2004 - nothing to run concurrently
        for task in tasks:
            yield from task()
        return
    capacity = _Capacity(sizes, max(small, *sizes))
    results: list[SimpleQueue[_Result[T]]] = [SimpleQueue() for _ in tasks]
    with ThreadPoolExecutor(min(at_once, len(tasks)), thread_name_prefix="target") as pool:
        try:
            for number, task in enumerate(tasks):
                pool.submit(_run_task, task, number, capacity, results[number])
            for queue in results:
                yield from _results_in(queue)
        finally:
            capacity.close()


def _run_task(task: Task[T], number: int, capacity: "_Capacity", results: "SimpleQueue[_Result[T]]") -> None:
    """Run a task once there is capacity for it, and put its results, then its end or error, into its queue."""
    error: BaseException | None = None
    if capacity.acquire(number):
        try:
            for result in task():
                results.put(_Result([result]))
                if capacity.closed:
                    break
        except BaseException as raised:  # noqa: BLE001 - raised again where the results are read
            error = raised
        capacity.release(number)
    results.put(_Result([], is_last=True, error=error))


def _results_in(queue: "SimpleQueue[_Result[T]]") -> Iterator[T]:
    while not (result := queue.get()).is_last:
        yield from result.values
    if result.error is not None:
        raise result.error


class _Result(msgspec.Struct, Generic[T], frozen=True):
    values: Sequence[T]
    is_last: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class _Capacity:
    """Admission of tasks: the next one in order starts as soon as its size fits next to the running ones."""

    sizes: Sequence[int]
    limit: int
    closed: bool = False
    _next: int = 0
    _used: int = 0
    _changed: Condition = field(default_factory=Condition)

    def acquire(self, number: int) -> bool:
        """Wait until it is the task's turn and there is capacity. Returns False if no task may start any more."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or (self._next == number and self._fits(number)))
            if self.closed:
                return False
            self._next += 1
            self._used += self.sizes[number]
            self._changed.notify_all()
            return True

    def _fits(self, number: int) -> bool:
        return self._used + self.sizes[number] <= self.limit

    def release(self, number: int) -> None:
        """Return the capacity of a finished task."""
        with self._changed:
            self._used -= self.sizes[number]
            self._changed.notify_all()

    def close(self) -> None:
        """Let no further task start."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
