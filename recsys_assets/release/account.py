"""Who runs this process, where nobody says who acts: the account and the host."""

import getpass
import socket


def this_account() -> str:
    """Return `account@host`; a container that runs under a number without a name is `unknown`."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
