"""A fresh folder for every attempt at an artifact on an engine: what a broken one left is never looked into."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from pyarrow import fs

from recsys_assets.engines.parts import told_of_parts
from recsys_assets.engines.places import filesystem_of

STALE = timedelta(days=2)  # longer than any job: what is older was left by a process that died


@contextmanager
def attempt(work: str, name: str) -> Generator[str]:
    """Yield a folder below `work/name` that no other attempt uses, and remove it afterwards, whatever happened.

    `work` is a path, a file:// or an s3:// URI. Folders of attempts that never ended are removed when they are stale.
    """
    parent = f"{work.rstrip('/')}/{name}"
    folder = f"{parent}/{uuid4().hex}"
    system, path = filesystem_of(folder)
    with told_of_parts(folder):
        system.create_dir(path, recursive=True)
    _sweep(parent)
    try:
        yield folder
    finally:
        with suppress(OSError):
            system.delete_dir(path)


def _sweep(parent: str) -> None:
    system, path = filesystem_of(parent)
    oldest = datetime.now(UTC) - STALE
    with suppress(OSError):
        for info in system.get_file_info(fs.FileSelector(path)):
            if info.mtime is not None and info.mtime < oldest:
                system.delete_dir(info.path)
