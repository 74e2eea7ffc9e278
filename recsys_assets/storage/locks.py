"""Locks of a folder store: one file per key, which the kernel lets go when the process that holds it dies."""

import fcntl
import hashlib
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.storage.folders import opened_folder

LOCKS: Final = ".locks"  # a folder of the store's own, directly below the root: no key and no listing reaches it
_PAUSE_SECONDS: Final = 0.002


@contextmanager
def locked(root: str, key: str, *, seconds: float) -> Generator[None]:
    """Hold the key's lock alone among all threads and processes; `StoreUnavailableError` after `seconds` in vain."""
    name = hashlib.sha256(key.encode()).hexdigest()
    with opened_folder(root, [LOCKS], make=True) as folder:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    try:
        _wait_for(fd, key, seconds)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, key: str, seconds: float) -> None:
    """Lock, but not for ever: a writer that is stopped while it holds the lock must not stop everybody."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"{key}: another process holds its lock for {seconds:g} s: see who, then try again"
                ) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return
