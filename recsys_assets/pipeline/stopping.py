"""Stop of a process after the step under way: asked for by a signal, honoured by every step before it begins."""

import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # an end, Ctrl-C, and a terminal that was closed

_stop = threading.Event()


def is_stopping() -> bool:
    """Return whether this process is to stop."""
    return _stop.is_set()


def run_until_signal(work: Callable[[], T], *, notify: Callable[[str], None]) -> tuple[T, signal.Signals | None]:
    """Return what `work` returns, and the signal that asked it to stop, or None.

    The first of `SIGNALS` lets the step under way end, `notify` gets its name; the second one ends the process.
    The work runs in a thread of its own: in the main thread Dagster puts its own handlers in place, which fail a step
    in the middle. A signal that the process ignores stays ignored, as
    SIGHUP does under nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(), None
    caught: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        _stop.set()
        for one in before:
            signal.signal(one, signal.SIG_DFL)
        notify(caught[0].name)

    before = {one: handler for one in SIGNALS if (handler := signal.getsignal(one)) is not signal.SIG_IGN}
    try:
        for one in before:
            signal.signal(one, stop)
        with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
            running = pool.submit(work)
            _wait_awake(running)
            return running.result(), caught[0] if caught else None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        _stop.clear()


def _wait_awake(running: Future[T]) -> None:
    """Wait for the work, and wake for each signal: one that another thread takes does not wake who waits for a lock."""
    here, there = socket.socketpair()
    there.settimeout(0)
    before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
    try:
        running.add_done_callback(lambda _: _wake(there))
        while not running.done():
            here.recv(1)
    finally:
        signal.set_wakeup_fd(before)
        here.close()
        there.close()


def _wake(there: socket.socket) -> None:
    with suppress(OSError):  # closed: the one who waited has seen the end already
        there.send(b"\0")
