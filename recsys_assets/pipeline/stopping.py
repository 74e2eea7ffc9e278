"""Graceful stop of a process: requested by a signal, and checked by every step before it starts."""

import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # termination, Ctrl-C, and a closed terminal

_stop = threading.Event()


def is_stopping() -> bool:
    """Return whether this process has been asked to stop."""
    return _stop.is_set()


def run_until_signal(work: Callable[[], T], *, notify: Callable[[str], None]) -> tuple[T, signal.Signals | None]:
    """Return the result of `work`, and the signal that asked it to stop, or None.

    On the first of `SIGNALS`, the running step finishes and `notify` is called with the signal's name. The second one
    ends the process. `work` runs in its own thread: in the main thread, Dagster would install handlers that fail a step
    halfway. A signal that the process ignores stays ignored, such as SIGHUP under nohup. Called from another thread
    than the main one, it runs `work` without handling signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(), None
    caught: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        caught.append(signal.Signals(number))
        _stop.set()
        for caught_signal in before:
            signal.signal(caught_signal, signal.SIG_DFL)
        notify(caught[0].name)

    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, stop)
        with ThreadPoolExecutor(1, thread_name_prefix="run") as pool:
            running = pool.submit(work)
            _wait_awake(running)
            return running.result(), caught[0] if caught else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stop.clear()


def _wait_awake(running: Future[T]) -> None:
    """Wait for the work, and wake up on each signal.

    Waiting for a lock is not enough: it is not interrupted by a signal that another thread receives.
    """
    receiver, sender = socket.socketpair()
    sender.settimeout(0)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        running.add_done_callback(lambda _: _wake(sender))
        while not running.done():
            receiver.recv(1)
    finally:
        signal.set_wakeup_fd(before)
        receiver.close()
        sender.close()


def _wake(sender: socket.socket) -> None:
    with suppress(OSError):  # closed: the waiting thread has noticed the end already
        sender.send(b"\0")
