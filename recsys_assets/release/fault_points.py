"""Named points between steps at which tests stop or kill the process."""

import os
import signal

VARIABLE = "RECSYS_FAULT"


def reach(point: str) -> None:
    """Send this process a signal if the environment variable `RECSYS_FAULT` contains this point. No-op otherwise.

    `RECSYS_FAULT=publish.before_swap` sends SIGKILL, like a power loss. `RECSYS_FAULT=publish.before_swap:STOP` sends
    SIGSTOP, like a suspended laptop. Other signals work the same way.
    """
    requested, _, name = os.environ.get(VARIABLE, "").partition(":")
    if requested == point:
        os.kill(os.getpid(), signal.Signals[f"SIG{name or 'KILL'}"])
