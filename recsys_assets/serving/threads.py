"""Threads of a service that survive a fork: a registry of objects to renew in a child, a poller, a single flight."""

import logging
import os
import random
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

_log = logging.getLogger(__name__)
JITTER = 0.2  # share of the interval: consumers that start at once soon poll at different times

Result = TypeVar("Result")


class OutlivesFork(Protocol):
    """Object with locks or threads of its own."""

    def after_fork(self) -> None:
        """Replace its locks and threads. The child has only the thread that runs this."""
        ...


_registered: WeakSet[OutlivesFork] = WeakSet()


def renew_after_fork(thing: OutlivesFork) -> None:
    """Call `thing.after_fork()` in every child that is forked while the object is alive."""
    _registered.add(thing)


def _after_fork() -> None:
    for thing in list(_registered):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)


class Poller:
    """Calls `work` every `seconds`, plus or minus `JITTER`, until it is stopped. Errors of `work` do not end it.

    After a fork the child polls in a thread of its own: servers that load first and then fork would otherwise serve the
    first release forever.
    """

    def __init__(self, work: Callable[[], object], *, seconds: float, name: str) -> None:
        self._work = work
        self._seconds = seconds
        self._name = name
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        renew_after_fork(self)

    def start(self) -> None:
        """Start polling. No-op if already started."""
        if self._thread is None:
            self._stopped = threading.Event()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def stop(self, *, wait_seconds: float) -> bool:
        """Stop, and return whether the thread ended in time. One that waits for a slow store ends after its reply."""
        thread, self._thread = self._thread, None
        self._stopped.set()
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(wait_seconds)
        return not thread.is_alive()

    def after_fork(self) -> None:
        """Start again in a forked child, if the parent was polling."""
        if self._thread is not None:
            self._thread = None
            self.start()

    def _run(self) -> None:
        stopped = self._stopped
        spread = random.Random()  # noqa: S311 - not a secret; a generator of its own, so that a seeded program keeps its numbers
        while not stopped.wait(self._seconds * spread.uniform(1 - JITTER, 1 + JITTER)):
            try:
                self._work()
            except Exception:  # noqa: BLE001 - if the thread ended, the reader would never switch again
                _log.exception("%s: an unexpected error; the served release stays, and polling continues", self._name)


class SingleFlight(Generic[Result]):
    """Runs one call at a time. A call from within the work (e.g. a listener) gets the previous result at once."""

    def __init__(self, before: Result) -> None:
        self._last = before
        self._lock = threading.Lock()
        self._flying: int | None = None  # id of the thread that runs the work
        renew_after_fork(self)

    def run(self, work: Callable[[], Result], *, join: bool = True) -> Result:
        """Return the result of `work`, or, with `join`, of a call that was already running.

        If that call raises, the waiting calls get the previous result.
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
        """Forget a running call of the parent."""
        self._lock = threading.Lock()
        self._flying = None
