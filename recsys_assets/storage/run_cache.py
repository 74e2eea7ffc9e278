"""Stores with a cache in memory: `RunCache` for the objects of one run, `ReadOnce` for one short read."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock, RLock
from typing import Final, TypeVar, cast

from recsys_assets.errors import NotFoundError, RecsysAssetsError
from recsys_assets.storage.store import Listed, ObjectStore, StoredObject, fan_out, is_remote

MAX_BYTES: Final = 64_000_000  # Limit of all cached objects together. Those of a larger day are read again.
MAX_OBJECT_BYTES: Final = 16_000_000
_BLOCKED: Final = "registry/blocked/"
_STAGING: Final = "staging/"
_RAW: Final = "raw/"
_RECORD: Final = "/record.json"
# The document of everything that one run staged for a day
_RUN_STAGED: Final = re.compile(rf"{_STAGING}[^/]+/[^/]+/[^/]+\.json")
_HELD: Final = "held"  # in place of the etag of an object that is not written yet
_CANONICAL: Final = "canonical/"
_CACHED: Final = ("artifacts/", _CANONICAL, _RAW, "releases/", _STAGING, "registry/current/", _BLOCKED)


class RunCache:
    """A store that reads each object of a day once, and no object that this run wrote.

    It caches artifacts, canonical days, raw records and parts, release records, staged references with their gate
    reports, and the pointer and the blocked items as the run first read them. It also caches the absence of blocked
    items, of a canonical day, and of the document that one run stages. Everything else (journal, holds, labels,
    intents, notes of forgotten users) is read from the store each time, and so is every `stat` and `list`. Proofs
    read from `origin`.
    """

    def __init__(
        self, origin: ObjectStore, *, cached: Mapping[str, StoredObject] | None = None, new: Iterable[str] = ()
    ) -> None:
        """Start with the objects in `cached` cached, and with the keys in `new` as created by this run."""
        self.origin: Final = origin
        self._cached: dict[str, StoredObject] = {}
        self._absent: dict[str, NotFoundError] = {}
        self._new: set[str] = set()
        self._held: dict[str, bytes] = {}
        self._bytes = 0
        self._lock = Lock()
        self._turns: defaultdict[str, RLock] = defaultdict(RLock)
        self._new.update(new)
        for key, stored in (cached or {}).items():
            self._keep(key, stored)

    def of_next_target(self) -> "RunCache":
        """Return a cache for another target of the same day. It shares only the records of raw files."""
        records = {
            key: stored for key, stored in self._cached.items() if key.startswith(_RAW) and key.endswith(_RECORD)
        }
        return RunCache(self.origin, cached=records, new=[key for key in self._new if key.startswith(_RAW)])

    @property
    def root_uri(self) -> str:
        """The root of the origin."""
        return self.origin.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The roots of the origin."""
        return self.origin.uri_roots

    def is_new(self, key: str) -> bool:
        """Return whether this run created the object."""
        return key in self._new

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object as this run wrote it or first read it. Keys that are not cached are read each time."""
        with self.turn(key):
            return self._get(key, max_bytes)

    def turn(self, key: str) -> RLock:
        """Return the lock of an object, to be held while reading it or changing its held bytes."""
        with self._lock:
            return self._turns[key]

    def _get(self, key: str, max_bytes: int) -> StoredObject:
        if key in self._held:
            return StoredObject(self._held[key], _HELD)
        stored = self._cached.get(key)
        if stored is not None and len(stored.data) <= max_bytes:
            return stored
        if key in self._absent:
            raise self._absent[key]
        try:
            stored = self.origin.get(key, max_bytes=max_bytes)
        except NotFoundError as error:
            if key.startswith((_BLOCKED, _CANONICAL)) or _RUN_STAGED.fullmatch(key):
                self._absent[key] = error
            raise
        self._keep(key, stored)
        return stored

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag is still `etag`. It never comes from the cache."""
        return self.origin.get_if_changed(key, etag=etag, max_bytes=max_bytes)

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None. They never come from the cache."""
        return self.origin.stat(key)

    def create(self, key: str, data: bytes) -> str:
        """Write a new object and return its etag."""
        self.drop(key)
        etag = self.origin.create(key, data)
        self._new.add(key)
        self._keep(key, StoredObject(data, etag))
        return etag

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`."""
        if key in self._held:
            self._held[key] = data
            return _HELD
        self.drop(key)
        etag = self.origin.swap(key, data, expected=expected)
        if key.startswith((_STAGING, _CANONICAL)):  # a swapped pointer is read again, because others swap it too
            self._keep(key, StoredObject(data, etag))
        return etag

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        self._held.pop(key, None)
        self.drop(key)
        etag = self.origin.put(key, data)
        self._keep(key, StoredObject(data, etag))
        return etag

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`, never from the cache."""
        return self.origin.list(prefix)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._held.pop(key, None)
        self.drop(key)
        self.origin.delete(key)

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`."""
        self.drop(key)
        self.origin.delete_unchanged(key, expected=expected)

    def hold(self, key: str, data: bytes) -> None:
        """Keep an object as if it were written, only for this run, until `flush`: the run extends it step by step."""
        self._held[key] = data

    def is_held(self, key: str) -> bool:
        """Return whether an object waits for `flush`."""
        return key in self._held

    def flush(self) -> None:
        """Write all held objects."""
        for key, data in list(self._held.items()):
            self.put(key, data)

    def read_again(self) -> "RunCache":
        """Return a new cache with only the held objects: another writer may have changed all others."""
        again = RunCache(self.origin)
        for key, data in self._held.items():
            again.hold(key, data)
        return again

    def prefetch(self, keys: Iterable[str], *, max_bytes: int) -> None:
        """Read in parallel objects that are about to be requested, if the store is remote.

        Errors are suppressed here: the later `get` of the object raises them, in the order of the caller.
        """
        missing = [key for key in keys if key not in self._cached and key not in self._absent]
        if len(missing) > 1 and is_remote(self.origin):
            fan_out(partial(self._try, max_bytes), missing)

    def _try(self, max_bytes: int, key: str) -> None:
        with suppress(RecsysAssetsError):
            self.get(key, max_bytes=max_bytes)

    def drop_below(self, prefix: str) -> None:
        """Drop all objects below `prefix` from the cache, so that the next `get` reads the store."""
        for key in [key for key in (*self._cached, *self._absent) if key.startswith(prefix)]:
            self.drop(key)

    def drop(self, key: str) -> None:
        """Drop an object from the cache, so that the next `get` reads the store: another writer may have changed it."""
        with self._lock:
            self._absent.pop(key, None)
            dropped = self._cached.pop(key, None)
            self._bytes -= len(dropped.data) if dropped else 0

    def _keep(self, key: str, stored: StoredObject) -> None:
        """Cache an object within the limits, evicting the oldest."""
        size = len(stored.data)
        if size > MAX_OBJECT_BYTES or not key.startswith(_CACHED):
            return
        self.drop(key)
        with self._lock:
            while self._cached and self._bytes + size > MAX_BYTES:
                oldest = next(iter(self._cached))
                self._bytes -= len(self._cached.pop(oldest).data)
            self._cached[key] = stored
            self._bytes += size


def prefetch(store: ObjectStore, keys: Iterable[str], *, max_bytes: int) -> None:
    """Read in parallel objects that are about to be requested, if the store is a `RunCache`."""
    if isinstance(store, RunCache):
        store.prefetch(keys, max_bytes=max_bytes)


_last: tuple[str, RunCache] | None = None


def reads_of_run(store: ObjectStore, run: str) -> RunCache:
    """Return the cache of a run over a store. A process keeps only the cache of its last run."""
    global _last  # noqa: PLW0603 - the steps of a run share nothing else
    last = _last
    if last is None or last[0] != run or last[1].origin is not store:
        last = (run, RunCache(store))
        _last = last
    return last[1]


Result = TypeVar("Result")


class ReadOnce:
    """A store whose results of reads are cached until something is written through it.

    Several checks of a target read the same pointer, record and journal, and over a network each read costs time.
    For one short task in one thread: writes of other processes are not seen.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._results: dict[tuple[object, ...], object] = {}

    @property
    def root_uri(self) -> str:
        """The root of the wrapped store."""
        return self._store.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The roots of the wrapped store."""
        return self._store.uri_roots

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object as it was first read. Raises `NotFoundError` if it was absent then."""
        stored = self._once(("get", key, max_bytes), lambda: self._get(key, max_bytes))
        if isinstance(stored, NotFoundError):
            raise NotFoundError(str(stored))
        return stored

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag still is `etag`."""
        return self._once(
            ("changed", key, etag), lambda: self._store.get_if_changed(key, etag=etag, max_bytes=max_bytes)
        )

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        return self._once(("stat", key), lambda: self._store.stat(key))

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`."""
        yield from self._once(("list", prefix), lambda: tuple(self._store.list(prefix)))

    def create(self, key: str, data: bytes) -> str:
        """Write a new object."""
        self._results.clear()
        return self._store.create(key, data)

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`."""
        self._results.clear()
        return self._store.swap(key, data, expected=expected)

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        self._results.clear()
        return self._store.put(key, data)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._results.clear()
        self._store.delete(key)

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`."""
        self._results.clear()
        self._store.delete_unchanged(key, expected=expected)

    def _get(self, key: str, max_bytes: int) -> StoredObject | NotFoundError:
        try:
            return self._store.get(key, max_bytes=max_bytes)
        except NotFoundError as missing:
            return missing

    def _once(self, call: tuple[object, ...], read: Callable[[], Result]) -> Result:
        if call not in self._results:
            self._results[call] = read()
        return cast("Result", self._results[call])
