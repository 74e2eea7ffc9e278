"""Reads through memory: each object once for one look, or what a run wrote and read, once for the run."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock, RLock
from typing import Final, TypeVar, cast

from recsys_assets.errors import NotFoundError, RecsysAssetsError
from recsys_assets.storage.store import Listed, ObjectStore, StoredObject, fan_out, is_remote

MAX_BYTES: Final = 64_000_000  # of all cached objects together; a larger day is read again each time
MAX_OBJECT_BYTES: Final = 16_000_000
_BLOCKED: Final = "registry/blocked/"
_STAGING: Final = "staging/"
_RAW: Final = "raw/"
_RECORD: Final = "/record.json"
_RUN_STAGED: Final = re.compile(rf"{_STAGING}[^/]+/[^/]+/[^/]+\.json")  # what one run staged of a day
_HELD: Final = "held"  # in place of an etag
_CANONICAL: Final = "canonical/"
_CACHED: Final = ("artifacts/", _CANONICAL, _RAW, "releases/", _STAGING, "registry/current/", _BLOCKED)


class RunCache:
    """A store of which the objects of a day are read once, and not at all where this run wrote them.

    Cached are artifacts, canonical days, raw records and parts, release records, staged references with their gate
    reports, the pointer and the blocked items as the run saw them first; that there are no blocked items, no
    canonical day, or no document of what one run staged, too. Everything else (journal, holds, labels, announcements,
    notes of forgotten users) is read from the store each time, and so is every `stat` and `list`. Proofs ask the
    `origin`.
    """

    def __init__(
        self, origin: ObjectStore, *, found: Mapping[str, StoredObject] | None = None, new: Iterable[str] = ()
    ) -> None:
        """Begin with objects that were found, and with the keys of those that are new."""
        self.origin: Final = origin
        self._found: dict[str, StoredObject] = {}
        self._absent: dict[str, NotFoundError] = {}
        self._new: set[str] = set()
        self._held: dict[str, bytes] = {}
        self._bytes = 0
        self._lock = Lock()
        self._turns: defaultdict[str, RLock] = defaultdict(RLock)
        self._new.update(new)
        for key, one in (found or {}).items():
            self._keep(key, one)

    def of_next_target(self) -> "RunCache":
        """Return the reads of another target's run on the same day: what all share is the record of its raw files."""
        found = {key: one for key, one in self._found.items() if key.startswith(_RAW) and key.endswith(_RECORD)}
        return RunCache(self.origin, found=found, new=[key for key in self._new if key.startswith(_RAW)])

    @property
    def root_uri(self) -> str:
        """The root of the store behind it."""
        return self.origin.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """Those of the store behind it."""
        return self.origin.uri_roots

    def is_new(self, key: str) -> bool:
        """Return whether this run created the object: there was none before it."""
        return key in self._new

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object as this run wrote it or read it first; others that are absent are asked for each time."""
        with self.turn(key):
            return self._get(key, max_bytes)

    def turn(self, key: str) -> RLock:
        """Return what one thread holds at a time that reads an object, or changes what is held of it."""
        with self._lock:
            return self._turns[key]

    def _get(self, key: str, max_bytes: int) -> StoredObject:
        if key in self._held:
            return StoredObject(self._held[key], _HELD)
        found = self._found.get(key)
        if found is not None and len(found.data) <= max_bytes:
            return found
        if key in self._absent:
            raise self._absent[key]
        try:
            found = self.origin.get(key, max_bytes=max_bytes)
        except NotFoundError as error:
            if key.startswith((_BLOCKED, _CANONICAL)) or _RUN_STAGED.fullmatch(key):
                self._absent[key] = error
            raise
        self._keep(key, found)
        return found

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object unless it still is the one marked `etag`; never from the cache."""
        return self.origin.get_if_changed(key, etag=etag, max_bytes=max_bytes)

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the object, or None; never from the cache."""
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
        if key.startswith((_STAGING, _CANONICAL)):  # a swapped pointer is read again: others swap it, too
            self._keep(key, StoredObject(data, etag))
        return etag

    def put(self, key: str, data: bytes) -> str:
        """Write the object whatever was there."""
        self._held.pop(key, None)
        self.drop(key)
        etag = self.origin.put(key, data)
        self._keep(key, StoredObject(data, etag))
        return etag

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`; never from the cache."""
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
        """Keep an object as if it were written, for this run alone, until `flush`: the run adds to it step by step."""
        self._held[key] = data

    def is_held(self, key: str) -> bool:
        """Return whether an object waits for `flush`."""
        return key in self._held

    def flush(self) -> None:
        """Write what is held."""
        for key, data in list(self._held.items()):
            self.put(key, data)

    def read_again(self) -> "RunCache":
        """Return reads of the same run that know nothing but what is held: another writer may have changed the rest."""
        again = RunCache(self.origin)
        for key, data in self._held.items():
            again.hold(key, data)
        return again

    def prefetch(self, keys: Iterable[str], *, max_bytes: int) -> None:
        """Read objects that are about to be asked for side by side, where the store is remote.

        What cannot be read is left to whoever asks for it, in whose order errors come.
        """
        missing = [key for key in keys if key not in self._found and key not in self._absent]
        if len(missing) > 1 and is_remote(self.origin):
            fan_out(partial(self._try, max_bytes), missing)

    def _try(self, max_bytes: int, key: str) -> None:
        with suppress(RecsysAssetsError):
            self.get(key, max_bytes=max_bytes)

    def drop_below(self, prefix: str) -> None:
        """Read what is below `prefix` from the store again when it is asked for next."""
        for key in [key for key in (*self._found, *self._absent) if key.startswith(prefix)]:
            self.drop(key)

    def drop(self, key: str) -> None:
        """Read the object from the store again when it is asked for next: another writer may have changed it."""
        with self._lock:
            self._absent.pop(key, None)
            gone = self._found.pop(key, None)
            self._bytes -= len(gone.data) if gone else 0

    def _keep(self, key: str, found: StoredObject) -> None:
        """Cache an object within the limits; the oldest make room for it."""
        size = len(found.data)
        if size > MAX_OBJECT_BYTES or not key.startswith(_CACHED):
            return
        self.drop(key)
        with self._lock:
            while self._found and self._bytes + size > MAX_BYTES:
                oldest = next(iter(self._found))
                self._bytes -= len(self._found.pop(oldest).data)
            self._found[key] = found
            self._bytes += size


def prefetch(store: ObjectStore, keys: Iterable[str], *, max_bytes: int) -> None:
    """Read objects that are about to be asked for side by side, if they are cached for the run."""
    if isinstance(store, RunCache):
        store.prefetch(keys, max_bytes=max_bytes)


_last: tuple[str, RunCache] | None = None


def reads_of_run(store: ObjectStore, run: str) -> RunCache:
    """Return the cache of a run over a store; one process keeps that of its last run only."""
    global _last  # noqa: PLW0603 - the steps of a run share nothing else
    last = _last
    if last is None or last[0] != run or last[1].origin is not store:
        last = (run, RunCache(store))
        _last = last
    return last[1]


Result = TypeVar("Result")


class ReadOnce:
    """Another store, whose answers are remembered until something is written through this one.

    Several questions about a target read the same pointer, record and journal; over a network each read is the cost.
    For one short look by one thread: nobody else's writes are seen.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._answers: dict[tuple[object, ...], object] = {}

    @property
    def root_uri(self) -> str:
        """That of the store behind it."""
        return self._store.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """Those of the store behind it."""
        return self._store.uri_roots

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object as it was when it was read first."""
        found = self._once(("get", key, max_bytes), lambda: self._get(key, max_bytes))
        if isinstance(found, NotFoundError):
            raise NotFoundError(str(found))
        return found

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object unless it still is the one marked `etag`."""
        return self._once(
            ("changed", key, etag), lambda: self._store.get_if_changed(key, etag=etag, max_bytes=max_bytes)
        )

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the object, or None."""
        return self._once(("stat", key), lambda: self._store.stat(key))

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`."""
        yield from self._once(("list", prefix), lambda: tuple(self._store.list(prefix)))

    def create(self, key: str, data: bytes) -> str:
        """Write a new object."""
        self._answers.clear()
        return self._store.create(key, data)

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object read as `expected`."""
        self._answers.clear()
        return self._store.swap(key, data, expected=expected)

    def put(self, key: str, data: bytes) -> str:
        """Write the object whatever was there."""
        self._answers.clear()
        return self._store.put(key, data)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._answers.clear()
        self._store.delete(key)

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object read as `expected`."""
        self._answers.clear()
        self._store.delete_unchanged(key, expected=expected)

    def _get(self, key: str, max_bytes: int) -> StoredObject | NotFoundError:
        try:
            return self._store.get(key, max_bytes=max_bytes)
        except NotFoundError as missing:
            return missing

    def _once(self, question: tuple[object, ...], ask: Callable[[], Result]) -> Result:
        if question not in self._answers:
            self._answers[question] = ask()
        return cast("Result", self._answers[question])
