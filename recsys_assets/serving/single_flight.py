"""One flight at a time: who comes while it is under way waits for it and takes its result."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from recsys_assets.serving import forking

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Runs work alone; a call from inside the work (a listener's, say) gets the result before, without waiting."""

    def __init__(self, before: Result) -> None:
        self._last = before
        self._lock = threading.Lock()
        self._flying: int | None = None  # the thread that works
        forking.register(self)

    def run(self, work: Callable[[], Result], *, join: bool = True) -> Result:
        """Return the result of `work`, or, if `join`, of a flight that was under way already.

        A flight that raises leaves the result as it was for those who waited.
        """
        if self._flying == threading.get_ident():
            return self._last
        if not self._lock.acquire(blocking=False):
            self._lock.acquire()
            if join:
                self._lock.release()
                return self._last
        try:
            self._flying = threading.get_ident()
            self._last = work()
            return self._last
        finally:
            self._flying = None
            self._lock.release()

    def after_fork(self) -> None:
        """Forget a flight of the parent's."""
        self._lock = threading.Lock()
        self._flying = None
