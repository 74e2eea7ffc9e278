"""Folders and files opened by descriptor, so that no symbolic link below a root is followed, not even in a race."""

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress

from recsys_assets.errors import (
    ConfigurationError,
    CorruptObjectError,
    NotFoundError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from recsys_assets.storage.store import Listed

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = (
    os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
)  # without O_NONBLOCK, opening a FIFO would wait for a writer
_LEAST_READ, _MOST_READ = 1 << 16, 1 << 30  # bytes
_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.EXDEV, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY}
_LACKING = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL}
_NEEDED = {"link": "hard links, to create an object only once", "flock": "locks, to let only one writer swap"}
_LINK = "it is a symbolic link, which a store does not follow: remove it"


@contextmanager
def opened_folder(root: str, segments: Sequence[str], *, make: bool = False) -> Generator[int]:
    """Yield a descriptor of the folder `segments` below `root`. With `make`, creates it if it is missing."""
    if make:
        os.makedirs(root, exist_ok=True)  # noqa: PTH103 - the root is kept as a string, as URIs need it
    fd = _open_root(root)
    try:
        for segment in segments:
            if make:
                _make(segment, parent=fd)
            below = _step(segment, parent=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


@contextmanager
def opened_file(folder: int, name: str) -> Generator[int]:
    """Yield a descriptor of a regular file in an open folder. Raises `CorruptObjectError` for anything else."""
    fd = os.open(name, _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CorruptObjectError(f"{name} is not a regular file: remove it from the store's folder")
        yield fd
    finally:
        os.close(fd)


def read_at_most(fd: int, *, key: str, max_bytes: int) -> bytes:
    """Return the file's bytes.

    Raises `CorruptObjectError` if there are more than `max_bytes`, whatever size it reports.
    """
    size = os.fstat(fd).st_size
    if size > max_bytes:
        raise CorruptObjectError(f"{key} has {size} bytes, expected at most {max_bytes}")
    chunks: list[bytes] = []
    left = max_bytes + 1
    # os.read allocates the size requested: request the size of the file, or a small file costs a large buffer.
    while left and (chunk := os.read(fd, min(left, max(size + 1, _LEAST_READ), _MOST_READ))):
        chunks.append(chunk)
        left -= len(chunk)
        size -= len(chunk)
    if not left:
        raise CorruptObjectError(f"{key} grew over {max_bytes} bytes while it was read")
    return b"".join(chunks)


def walk(folder: int, prefix: str) -> Iterator[Listed]:
    """Yield every regular file below an open folder, in no particular order. Links are skipped."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                try:
                    below = _step(entry.name, parent=folder)
                except FileNotFoundError:  # removed since the folder was read
                    continue
                try:
                    yield from walk(below, f"{prefix}{entry.name}/")
                finally:
                    os.close(below)
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # removed since the folder was read
                    status = entry.stat(follow_symlinks=False)
                    yield Listed(f"{prefix}{entry.name}", status.st_size, status.st_mtime)


@contextmanager
def translate_read_errors(key: str) -> Generator[None]:
    """Turn operating system errors into the package's. A missing file becomes `NotFoundError`."""
    with translate_os_errors(key):
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{key} is not in the store") from error


@contextmanager
def translate_os_errors(key: str) -> Generator[None]:
    """Turn operating system errors into the package's.

    Raises `ConfigurationError` for permissions and impossible paths, `StoreUnavailableError` for all others.
    """
    try:
        yield
    except OSError as error:
        path = "" if error.filename is None else f" ({error.filename})"  # a write by descriptor has no file name
        cause = f"{key}: {error.strerror}{path}"
        if error.errno == errno.ELOOP:
            raise ConfigurationError(f"{key}: {_LINK}") from error
        if error.errno in _PERMISSION:
            raise ConfigurationError(f"{cause}: give this user permission, or use another root") from error
        if error.errno in _IMPOSSIBLE:
            raise ConfigurationError(f"{cause}: the folder cannot hold this key; use another root") from error
        raise StoreUnavailableError(f"{cause}: nothing has changed; free the disk or try again") from error


@contextmanager
def reject_unsupported(call: str) -> Generator[None]:
    """Raise `UnsafeStoreError` if the file system lacks a call: neither a retry nor a permission would help."""
    try:
        yield
    except OSError as error:
        if error.errno in _LACKING or (call == "link" and error.errno == errno.EPERM):
            raise UnsafeStoreError(
                f"the file system below the store's root fails the call {call} ({error.strerror}): a store needs "
                f"{_NEEDED[call]}. Use a local folder on ext4, XFS, Btrfs or ZFS, NFS 4, or a bucket (s3://, gs://, "
                "az://); FAT, exFAT, SMB without Unix parts, mounted buckets and folders shared with a virtual machine "
                "do not work"
            ) from error
        raise


def _open_root(root: str) -> int:
    try:
        return os.open(root, _FOLDER)
    except NotADirectoryError as error:
        raise ConfigurationError(
            f"{root}, the root of the store, is not a folder, or was replaced by a symbolic link after the store was "
            "opened: find out who changed it; a store does not follow links"
        ) from error


def _make(segment: str, *, parent: int) -> None:
    try:
        os.mkdir(segment, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)


def _step(segment: str, *, parent: int) -> int:
    try:
        return os.open(segment, _FOLDER, dir_fd=parent)
    except NotADirectoryError as error:  # Linux raises it for a link as well
        if stat.S_ISLNK(os.stat(segment, dir_fd=parent, follow_symlinks=False).st_mode):
            raise ConfigurationError(f"{segment}: {_LINK}") from error
        raise
