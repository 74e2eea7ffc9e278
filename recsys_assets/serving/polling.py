"""A thread that looks again and again, never in step with its kind, and that a fork does not lose."""

import logging
import random
import threading
from collections.abc import Callable

from recsys_assets.serving import forking

_log = logging.getLogger(__name__)
JITTER = 0.2  # of the interval: a hundred consumers that start at once are soon spread over it


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
        forking.register(self)

    def start(self) -> None:
        """Begin; once begun, nothing happens."""
        if self._thread is None:
            self._stopped = threading.Event()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def stop(self, *, wait_seconds: float) -> bool:
        """End, and tell whether the thread did in time; one that waits for a slow store ends with its answer."""
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
