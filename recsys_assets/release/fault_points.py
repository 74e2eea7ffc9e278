"""Named points where tests stop the process: a crash may come between any two steps, so each has a name."""

import os
import signal

VARIABLE = "RECSYS_FAULT"


def reach(point: str) -> None:
    """Do nothing, unless the environment names this point: then take SIGKILL here, as from power loss.

    `RECSYS_FAULT=publish.before_swap` kills; `RECSYS_FAULT=publish.before_swap:STOP` sends SIGSTOP, as does a laptop's
    sleep, and so for every other signal.
    """
    asked, _, name = os.environ.get(VARIABLE, "").partition(":")
    if asked == point:
        os.kill(os.getpid(), signal.Signals[f"SIG{name or 'KILL'}"])
