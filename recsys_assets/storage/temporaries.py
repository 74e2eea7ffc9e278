"""Temporary files of a folder store: written whole and synced before they get a name; gone when their writer is."""

import fcntl
import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from recsys_assets.storage.folders import opened_file, opened_folder, walk

TEMPORARY: Final = ".tmp"  # a folder of the store's own, directly below the root: no key and no listing reaches it
STALE_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Temporary:
    """A synced file without a key: its open folder, its name there, and what the system says of it."""

    folder: int
    name: str
    found: os.stat_result


@contextmanager
def written(root: str, data: bytes, *, after_ns: int = 0) -> Generator[Temporary]:
    """Yield a synced file that holds `data`, written later than `after_ns`; gone afterwards if still there.

    Its lock tells `sweep` that the writer lives, however long it was stopped and whatever the clock says.
    """
    with opened_folder(root, [TEMPORARY], make=True) as folder:
        name = f"{os.getpid()}-{secrets.token_hex(16)}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(data)
            # Kernels stamp files by a coarse tick, which may repeat: an etag needs a time of its own.
            written_ns = max(time.time_ns(), after_ns + 1)
            os.utime(fd, ns=(written_ns, written_ns))
            os.fsync(fd)
            yield Temporary(folder, name, os.fstat(fd))
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def sweep(root: str) -> None:
    """Remove what dead writers left behind: files that are a day old and that no living writer has locked."""
    with suppress(FileNotFoundError), opened_folder(root, [TEMPORARY]) as folder:
        for item in list(walk(folder, "")):
            if time.time() - item.modified > STALE_SECONDS and "/" not in item.key:
                _remove_if_dead(folder, item.key)


def _remove_if_dead(folder: int, name: str) -> None:
    with suppress(FileNotFoundError, PermissionError, BlockingIOError), opened_file(folder, name) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)
