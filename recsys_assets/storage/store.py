"""Protocol of an object store with its guarantees, rules of keys, and reads in parallel."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from recsys_assets.errors import UnsafeNameError
from recsys_assets.identity import MAX_SEGMENT_BYTES, check_segment

MAX_KEY_BYTES = 900
MAX_PREFIX_BYTES = 120  # S3, GCS and Azure allow 1,024 bytes or characters for prefix, slash and key together
KEY_FILE = "key.json"  # the last segment of keys that hold a secret
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(?:[/.][A-Za-z0-9_-]+)*", re.ASCII)
AT_ONCE: Final = 10  # the number of connections that boto3 keeps


class StoredObject(msgspec.Struct, frozen=True):
    """The bytes of one object as they were read, with the store's etag of exactly these bytes."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """One object in a listing: key below the root, size in bytes, time of the last write in POSIX seconds."""

    key: str
    size: int
    modified: float


class ObjectStore(Protocol):
    """Objects under slash-separated keys below one root.

    Safety rests on two operations: `create` (fails if the key exists) and `swap` (fails if the object is not the one
    that was read). Both are atomic: a reader sees the old bytes or the new ones, never a part. Keys are relative,
    without empty, `.` or `..` segments. Anything else raises `UnsafeNameError` before any I/O.

    Errors of every operation: `StoreUnavailableError` (no reply, and nothing is known to have changed),
    `ConfigurationError` (credentials, bucket or permission wrong).
    """

    @property
    def root_uri(self) -> str:
        """Location of the objects: `file:///absolute/folder` or `scheme://bucket/prefix`, without a trailing slash."""
        ...

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """Roots of the URIs of objects in this store: the first is written into pointers, any is accepted."""
        ...

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object, reading at most `max_bytes`.

        Raises `NotFoundError` if absent, `CorruptObjectError` if larger.
        """
        ...

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag still is `etag`, at the cost of one 304 or one stat."""
        ...

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        ...

    def create(self, key: str, data: bytes) -> str:
        """Write a new object and return its etag.

        Raises `ConflictError` if the key exists. Raises `OutcomeUnknownError` if the reply was lost.
        """
        ...

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected` and return the new etag.

        Raises `ConflictError` if the object was changed or removed. Raises `OutcomeUnknownError` if the reply was lost.

        After a lost reply a store may take equal bytes for its own, and it may give equal bytes an equal etag: `data`
        must contain a value that no other writer writes and that never recurs, such as the pointer's `updated_at`.
        """
        ...

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally: for partitions that a rerun rebuilds, never for a release or pointer."""
        ...

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix` (empty, or ending with a slash), by key. Raises if it cannot yield all."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object. An absent object is not an error."""
        ...

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`.

        Raises `ConflictError` if the object was changed or removed, `OutcomeUnknownError` if the reply was lost, and
        `UnsafeStoreError` if the store does not honour the condition: then nothing was removed.
        """
        ...


def check_key(key: str) -> str:
    """Return `key` if each of its segments is plain. Raises `UnsafeNameError` before any I/O otherwise."""
    for segment in key.split("/"):
        check_segment(segment, what=f"segment of key {key[:200]!r}")
    if key.startswith("."):
        raise UnsafeNameError(f"key {key!r} begins with a dot: such names are reserved for the store")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise UnsafeNameError(f"key {key[:40]!r}... has {len(key.encode())} bytes, expected at most {MAX_KEY_BYTES}")
    return key


def is_key(name: str) -> bool:
    """Return whether `check_key` accepts `name`. Listings skip other names, because this package did not write them."""
    if _PLAIN.fullmatch(name) and len(name) <= MAX_SEGMENT_BYTES:  # nearly all names, and a hundred times faster
        return True
    try:
        check_key(name)
    except UnsafeNameError:
        return False
    return True


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is empty, or plain segments with a slash at the end. Raises `UnsafeNameError` otherwise."""
    if prefix and not prefix.endswith("/"):
        raise UnsafeNameError(f"prefix {prefix!r} does not end with a slash: it would match half a name")
    if prefix:
        check_key(prefix[:-1])
    return prefix


def check_bucket_prefix(prefix: str) -> str:
    """Return `prefix` if every key fits below it in a bucket. Raises `UnsafeNameError` otherwise."""
    check_key(prefix)
    size = len(prefix.encode())
    if size > MAX_PREFIX_BYTES:
        raise UnsafeNameError(f"prefix {prefix[:40]!r}... has {size} bytes, expected at most {MAX_PREFIX_BYTES}")
    return prefix


def check_root(root: str) -> str:
    """Return `root` if it can be part of a URI. Raises `UnsafeNameError` otherwise."""
    bad = sorted({c for c in root if c in "?#%" or not c.isprintable()})
    if bad:
        raise UnsafeNameError(
            f"storage root {root!r} contains {bad!r}, not allowed in the URIs of a pointer: use another"
        )
    return root


Item = TypeVar("Item")
Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")
Answer: TypeAlias = Callable[[], Result]


def fan_out(work: Callable[[Item], Result], items: Sequence[Item]) -> tuple[Result, ...]:
    """Return the results of `work` for each item, in order. Raises the error of the first item that fails."""
    if len(items) < 2:  # noqa: PLR2004 - nothing to run in parallel
        return tuple(map(work, items))
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(items)), thread_name_prefix="fan-out") as pool:
        return tuple(pool.map(work, items))


def is_remote(store: ObjectStore) -> bool:
    """Return whether each call is a request over a network. For a folder, threads cost more than they save."""
    return not store.root_uri.startswith(("file://", "memory://"))


class SideBySide(msgspec.Struct, frozen=True):
    """Reads that run in parallel, each awaited when its result is requested.

    Without a pool each read runs only then, so that errors are raised in the order of the results in either case.
    """

    pool: ThreadPoolExecutor | None

    def start(
        self, ask: Callable[Parameters, Result], *args: Parameters.args, **more: Parameters.kwargs
    ) -> Answer[Result]:
        """Start a read, and return a function that waits for its result, or raises its error."""
        return partial(ask, *args, **more) if self.pool is None else self.pool.submit(ask, *args, **more).result


@contextmanager
def overlapped(store: ObjectStore) -> Generator[SideBySide]:
    """Yield a `SideBySide` that runs reads of a remote store in parallel, and reads of any other store in turn.

    Only for reads that do not depend on one another. Calls whose order matters (bytes before their record, an intent
    before proofs, a swap before its journal entry) never go through this.
    """
    if not is_remote(store):
        yield SideBySide(None)
        return
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="overlap") as pool:
        yield SideBySide(pool)
