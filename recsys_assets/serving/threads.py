"""Threads of a service that survive a fork: a registry of what to renew in a child, a poller, a single flight."""

import logging
import os
import random
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

_log = logging.getLogger(__name__)
JITTER = 0.2  # of the interval: a hundred consumers that start at once are soon spread over it

Result = TypeVar("Result")


class OutlivesFork(Protocol):
    """A thing with locks or threads of its own."""

    def after_fork(self) -> None:
        """Replace them; the child has only the thread that runs this."""
        ...


_registered: WeakSet[OutlivesFork] = WeakSet()


def renew_after_fork(thing: OutlivesFork) -> None:
    """Call `thing.after_fork()` in every child that is forked while the thing lives."""
    _registered.add(thing)


def _after_fork() -> None:
    for thing in list(_registered):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class Poller:
    """Calls `work` every `seconds`, give or take `JITTER`, until it is stopped; what `work` raises does not end it.

    After a fork the child polls by a thread of its own: servers that load first and fork then would otherwise serve
    what they loaded for ever.
    """

    def __init__(self, work: Callable[[], object], *, seconds: float, name: str) -> None:
        self._work = work
        self._seconds = seconds
        self._name = name
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        renew_after_fork(self)

    def start(self) -> None:
        """Begin; once begun, nothing happens."""
        if self._thread is None:
            self._stopped = threading.Event()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def stop(self, *, wait_seconds: float) -> bool:
        """End, and return whether the thread did in time; one that waits for a slow store ends with its answer."""
        thread, self._thread = self._thread, None
        self._stopped.set()
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(wait_seconds)
        return not thread.is_alive()

    def after_fork(self) -> None:
        """Begin again in a forked child, if the parent polled."""
        if self._thread is not None:
            self._thread = None
            self.start()

    def _run(self) -> None:
        stopped = self._stopped
        spread = random.Random()  # noqa: S311 - no secret; one of its own, so that a seeded program keeps its numbers
        while not stopped.wait(self._seconds * spread.uniform(1 - JITTER, 1 + JITTER)):
            try:
                self._work()
            except Exception:  # noqa: BLE001 - a thread that dies of one surprise would freeze what is served
                _log.exception("%s: an unexpected error; what is served stays, and the next poll comes", self._name)


class SingleFlight(Generic[Result]):
    """Runs work alone; a call from inside the work (a listener's, say) gets the result before, without waiting."""

    def __init__(self, before: Result) -> None:
        self._last = before
        self._lock = threading.Lock()
        self._flying: int | None = None  # the thread that works
        renew_after_fork(self)

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
