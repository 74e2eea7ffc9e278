"""The account and host of this process, for journal entries that name no actor."""

import getpass
import socket


def this_account() -> str:
    """Return `account@host`; a container that runs under a number without a name is `unknown`."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
