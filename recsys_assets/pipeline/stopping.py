"""Stop of a process after the step under way: asked for by a signal, honoured by every step before it begins."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_stop = threading.Event()


def is_stopping() -> bool:
    """Return whether this process is to stop."""
    return _stop.is_set()


def run_until_signal(work: Callable[[], T], *, notify: Callable[[str], None]) -> tuple[T, signal.Signals | None]:
    """Return what `work` returns, and the signal that asked it to stop, or None.

    The first SIGTERM or SIGINT lets the step under way end, `notify` gets its name; the second one ends the process.
    The work runs in a thread of its own: in the main thread Dagster puts its own handlers in place, which fail a step
    in the middle. A signal that the process ignores stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(), None
    caught: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        _stop.set()
        for one in SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        notify(caught[0].name)

    before = {one: signal.getsignal(one) for one in SIGNALS}
    try:
        for one, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(one, stop)
        with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
            return pool.submit(work).result(), caught[0] if caught else None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        _stop.clear()
