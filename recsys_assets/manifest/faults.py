"""Named points where tests kill the process: a crash may come between any two steps, so each has a name."""

import os
import signal

VARIABLE = "RECSYS_FAULT"


def reach(point: str) -> None:
    """Do nothing, unless a test named this point in the environment: then die here as by power loss."""
    if os.environ.get(VARIABLE) == point:
        os.kill(os.getpid(), signal.SIGKILL)
