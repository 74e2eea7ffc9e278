"""Store in a folder: objects are created by hard link, swapped by rename under a lock, and synced at each write."""

import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import msgspec

from recsys_assets.errors import ConflictError, OutcomeUnknownError, StoreUnavailableError, UnsafeStoreError
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.storage.folders import (
    opened_file,
    opened_folder,
    read_at_most,
    reject_unsupported,
    translate_os_errors,
    translate_read_errors,
    walk,
)
from recsys_assets.storage.store import KEY_FILE, Listed, StoredObject, check_key, check_prefix, check_root, is_key

LOCKS: Final = ".locks"  # a folder of the store's own, directly below the root: no key and no listing reaches it
_PAUSE_SECONDS: Final = 0.002
TEMPORARY: Final = ".tmp"  # a folder of the store's own, directly below the root: no key and no listing reaches it
STALE_SECONDS: Final = 24 * 3600
_COARSE_NS: Final = 1_000_000  # a time that is a whole multiple of this may be all that the file system stores
_HASHED_BYTES: Final = 1_000_000  # Larger objects have no hash in their etag. All objects that are swapped are smaller.
_STEPS_NS: Final = (1, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)  # the last is the resolution of FAT


@contextmanager
def locked(root: str, key: str, *, seconds: float, pause: Pause = wait) -> Generator[None]:
    """Hold the exclusive lock of a key among all threads and processes.

    Raises `StoreUnavailableError` after `seconds`.
    """
    name = hashlib.sha256(key.encode()).hexdigest()
    with opened_folder(root, [LOCKS], make=True) as folder:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666, dir_fd=folder)
    try:
        with reject_unsupported("flock"):
            _wait_for(fd, key, seconds, pause)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, key: str, seconds: float, pause: Pause) -> None:
    """Lock within `seconds`: a writer that is stopped while it holds the lock must not block all others forever."""
    deadline = time.monotonic() + seconds
    for _ in attempts(None, first_seconds=_PAUSE_SECONDS, longest_seconds=_PAUSE_SECONDS, pause=pause):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"{key}: another process has held its lock for {seconds:g} s. Find that process, then try again"
                ) from error
        else:
            return


class Temporary(msgspec.Struct, frozen=True):
    """A synced file without a key: its open folder, its name in it, and its `stat` result."""

    folder: int
    name: str
    found: os.stat_result


@contextmanager
def temporary_file(root: str, data: bytes, *, after_ns: int = 0, mode: int = 0o666) -> Generator[Temporary]:
    """Yield a synced file with `data` and a modification time later than `after_ns`. Removes it afterwards.

    Its lock shows `sweep` that the writer is alive, however long it was stopped and whatever the clock says.
    """
    with opened_folder(root, [TEMPORARY], make=True) as folder:
        name = f"{os.getpid()}-{secrets.token_hex(16)}"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder)
        try:
            with reject_unsupported("flock"):
                fcntl.flock(fd, fcntl.LOCK_EX)
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(data)
            # Kernels set times by a coarse clock, which may repeat: an etag needs a unique time.
            status = _stamp_after(fd, after_ns)
            os.fsync(fd)
            yield Temporary(folder, name, status)
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def _stamp_after(fd: int, after_ns: int) -> os.stat_result:
    """Set the modification time of a file later than `after_ns`, in steps that a coarse file system stores as well."""
    for step_ns in _STEPS_NS:
        written_ns = max(time.time_ns(), after_ns + step_ns)
        os.utime(fd, ns=(written_ns, written_ns))
        status = os.fstat(fd)
        if status.st_mtime_ns > after_ns:
            return status
    raise UnsafeStoreError(
        "the file system does not store modification times, which distinguish versions of a file: use another"
    )


def sweep(root: str) -> None:
    """Remove the temporary files of dead writers: files that are a day old and that no living writer has locked."""
    with suppress(FileNotFoundError), opened_folder(root, [TEMPORARY]) as folder:
        for item in list(walk(folder, "")):
            if time.time() - item.modified > STALE_SECONDS and "/" not in item.key:
                _remove_if_dead(folder, item.key)


def _remove_if_dead(folder: int, name: str) -> None:
    with suppress(FileNotFoundError, PermissionError, BlockingIOError), opened_file(folder, name) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=folder)


class FilesystemStore:
    """Objects as files below one folder. Symbolic links below the root are never followed.

    An etag consists of the file's inode, size and modification time, and of a hash of the bytes of small objects. A
    swap makes that time strictly later than the previous one, so that writing the same bytes again gives another etag:
    a writer that was paused while A became B and A again still fails. If the root is a symbolic link, its target is
    read and written, but URIs contain the path as given.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        public_root: str | None = None,
        lock_seconds: float = 30.0,
        pause: Pause = wait,
    ) -> None:
        self._root = check_root(os.path.realpath(root))
        self._public_root = check_root(public_root or f"file://{_named(root, self._root)}")
        self._lock = partial(locked, self._root, seconds=lock_seconds, pause=pause)
        self._swept = False

    @property
    def root_uri(self) -> str:
        """`file://` and the absolute path of the folder, links resolved."""
        return f"file://{self._root}"

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The public root (default: the root as given), then `root_uri` if that differs."""
        return (self._public_root,) if self._public_root == self.root_uri else (self._public_root, self.root_uri)

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object. Raises `NotFoundError` if absent, `CorruptObjectError` if larger than `max_bytes`."""
        *folder, name = check_key(key).split("/")
        with translate_read_errors(key), opened_folder(self._root, folder) as parent, opened_file(parent, name) as fd:
            data = read_at_most(fd, key=key, max_bytes=max_bytes)
            return StoredObject(data, _etag(os.fstat(fd), data))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag is still `etag`.

        An idle poll reads none of its bytes, unless the file's time is so coarse that another file could have the same.
        """
        *folder, name = check_key(key).split("/")
        with translate_read_errors(key), opened_folder(self._root, folder) as parent, opened_file(parent, name) as fd:
            status = os.fstat(fd)
            if status.st_mtime_ns % _COARSE_NS and etag.startswith(f"{_inode_size_time(status)}-"):
                return None
            if _etag_of(fd, key) == etag:
                return None
            os.lseek(fd, 0, os.SEEK_SET)
            data = read_at_most(fd, key=key, max_bytes=max_bytes)
            return StoredObject(data, _etag(status, data))

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        *folder, name = check_key(key).split("/")
        with (
            translate_os_errors(key),
            suppress(FileNotFoundError, NotADirectoryError),
            opened_folder(self._root, folder) as parent,
        ):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            return Listed(key, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None
        return None

    def create(self, key: str, data: bytes) -> str:
        """Write a new object by linking a synced temporary file to its name.

        Raises `ConflictError` if the name exists.
        """
        *folder, name = check_key(key).split("/")
        self._sweep_once()
        with (
            translate_os_errors(key),
            temporary_file(self._root, data, mode=_mode_of(name)) as new,
            opened_folder(self._root, folder, make=True) as parent,
        ):
            try:
                with reject_unsupported("link"):
                    os.link(new.name, name, src_dir_fd=new.folder, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError as error:
                raise ConflictError(f"{key} exists already") from error
            _sync(parent, key)
            return _etag(new.found, data)

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`, under the lock of its key.

        Raises `ConflictError` if it has changed.
        """
        *folder, name = check_key(key).split("/")
        with translate_os_errors(key), self._lock(key):
            status, etag = self._status_and_etag(folder, name, key)
            if status is None:
                raise ConflictError(f"{key} is gone: expected {expected}")
            if etag != expected:
                raise ConflictError(f"{key} was changed concurrently: expected etag {expected}, found {etag}")
            return self._replace(key, data, after_ns=status.st_mtime_ns)

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally. Readers see the old bytes or the new."""
        *folder, name = check_key(key).split("/")
        with translate_os_errors(key):
            status, _ = self._status_and_etag(folder, name)
            return self._replace(key, data, after_ns=status.st_mtime_ns if status else 0)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects below `prefix`, by key."""
        folder = check_prefix(prefix).split("/")[:-1]
        listed: list[Listed] = []
        with translate_os_errors(prefix), suppress(FileNotFoundError), opened_folder(self._root, folder) as parent:
            listed = sorted(item for item in walk(parent, prefix) if is_key(item.key))
        yield from listed

    def delete(self, key: str) -> None:
        """Remove the file. An absent file is not an error. Its folder stays: another writer may be about to use it."""
        *folder, name = check_key(key).split("/")
        with (
            translate_os_errors(key),
            suppress(FileNotFoundError, NotADirectoryError),
            opened_folder(self._root, folder) as parent,
        ):
            os.unlink(name, dir_fd=parent)
            os.fsync(parent)

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the file that was read with etag `expected`, under the lock of its key.

        Raises `ConflictError` if it has changed.
        """
        *folder, name = check_key(key).split("/")
        with translate_os_errors(key), self._lock(key):
            _, etag = self._status_and_etag(folder, name, key)
            if etag != expected:
                raise ConflictError(
                    f"{key} was changed concurrently: expected etag {expected}, found {etag or 'no object'}"
                )
            with opened_folder(self._root, folder) as parent:
                os.unlink(name, dir_fd=parent)
                _sync(parent, key)

    def _status_and_etag(
        self, folder: Sequence[str], name: str, key: str | None = None
    ) -> tuple[os.stat_result | None, str | None]:
        """Return a file's `stat` result and, if `key` is given, its etag, or None for each if the file is absent."""
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            opened_folder(self._root, folder) as parent,
            opened_file(parent, name) as fd,
        ):
            return os.fstat(fd), key and _etag_of(fd, key)
        return None, None

    def _replace(self, key: str, data: bytes, *, after_ns: int) -> str:
        *folder, name = key.split("/")
        self._sweep_once()
        with (
            temporary_file(self._root, data, after_ns=after_ns, mode=_mode_of(name)) as new,
            opened_folder(self._root, folder, make=True) as parent,
        ):
            os.rename(new.name, name, src_dir_fd=new.folder, dst_dir_fd=parent)
            _sync(parent, key)
            return _etag(new.found, data)

    def _sweep_once(self) -> None:
        if not self._swept:
            self._swept = True
            sweep(self._root)


def _mode_of(name: str) -> int:
    """Return the mode of a new file, before the umask: only the owner may read a file with a secret."""
    return 0o600 if name == KEY_FILE else 0o666


def _named(root: str | os.PathLike[str], real: str) -> str:
    """Return the absolute path of the root as given, or `real` if `..` after a link makes that another folder."""
    named = os.path.abspath(root)  # noqa: PTH100 - links stay
    return named if os.path.realpath(named) == real else real


def _inode_size_time(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


def _etag(status: os.stat_result, data: bytes) -> str:
    """Return the etag of a file, which no other written file has.

    With coarse times, a file that is deleted and written again may have the inode, size and time of the previous one.
    """
    if status.st_size > _HASHED_BYTES:
        return f"{_inode_size_time(status)}-"
    return f"{_inode_size_time(status)}-{hashlib.blake2b(data, digest_size=8).hexdigest()}"


def _etag_of(fd: int, key: str) -> str:
    status = os.fstat(fd)
    return _etag(status, b"" if status.st_size > _HASHED_BYTES else read_at_most(fd, key=key, max_bytes=_HASHED_BYTES))


def _sync(folder: int, key: str) -> None:
    """Make a new name durable. If that fails, the name exists, but may be lost in a power failure."""
    try:
        os.fsync(folder)
    except OSError as error:
        raise OutcomeUnknownError(f"{key} is written, but its folder cannot be synced: {error.strerror}") from error
