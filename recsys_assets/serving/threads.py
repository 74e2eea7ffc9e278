"""Threads of a service: renewed in a forked child, a poller, a single flight, and a store with a deadline per call."""

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.storage.store import Listed, ObjectStore, StoredObject

_log = logging.getLogger(__name__)
_MOST_HANGING = 4  # Abandoned calls that still run. With that many, new calls fail at once.
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


class DeadlineStore:
    """Wrapper of a store in which each call ends within `seconds`, with `StoreUnavailableError` after that.

    Socket timeouts restart with every byte, and a network folder has none. Therefore each call runs in a thread of its
    own, which is abandoned at the deadline and keeps the bytes it read until it ends.
    """

    def __init__(self, store: ObjectStore, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._hanging: list[threading.Thread] = []

    @property
    def root_uri(self) -> str:
        """The root of the wrapped store."""
        return self._store.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The roots of the wrapped store."""
        return self._store.uri_roots

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object."""
        return self._in_time(key, lambda: self._store.get(key, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag still is `etag`."""
        return self._in_time(key, lambda: self._store.get_if_changed(key, etag=etag, max_bytes=max_bytes))

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        return self._in_time(key, lambda: self._store.stat(key))

    def create(self, key: str, data: bytes) -> str:
        """Write a new object."""
        return self._in_time(key, lambda: self._store.create(key, data))

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`."""
        return self._in_time(key, lambda: self._store.swap(key, data, expected=expected))

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        return self._in_time(key, lambda: self._store.put(key, data))

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`. All are listed before the first is yielded."""
        yield from self._in_time(prefix, lambda: tuple(self._store.list(prefix)))

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._in_time(key, lambda: self._store.delete(key))

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`."""
        self._in_time(key, lambda: self._store.delete_unchanged(key, expected=expected))

    def _in_time(self, key: str, call: Callable[[], Result]) -> Result:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise StoreUnavailableError(
                f"{key}: {_MOST_HANGING} earlier calls still hang: is the store or the network down?"
            )
        ended: list[tuple[Result, None] | tuple[None, BaseException]] = []
        thread = threading.Thread(target=lambda: ended.append(_outcome(call)), name=f"call for {key}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if not ended:
            self._hanging.append(thread)
            raise StoreUnavailableError(
                f"{key}: no whole answer within {self._seconds:g} s: try again, or raise Limits.call_seconds"
            )
        result, error = ended.pop()
        try:
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame, a cycle that would keep the bytes read in memory
        return cast("Result", result)


def _outcome(call: Callable[[], Result]) -> tuple[Result, None] | tuple[None, BaseException]:
    """Return the call's result, or its error, to be raised in the waiting thread."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - any error must reach the waiting thread
        return None, error
