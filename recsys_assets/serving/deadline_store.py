"""Store with a deadline per call: a response that trickles in for hours fails like a missing one."""

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.storage.store import Listed, ObjectStore, StoredObject

_MOST_HANGING = 4  # Abandoned calls that still run. With that many, new calls fail at once.

Result = TypeVar("Result")


class DeadlineStore:
    """Wrapper of a store in which each call ends within `seconds`, with `StoreUnavailableError` after that.

    Socket timeouts restart with every byte, and a network folder has none. Therefore each call runs in a thread of its
    own, which is abandoned at the deadline and keeps the bytes it read until it ends.
    """

    def __init__(self, store: ObjectStore, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._hanging: list[threading.Thread] = []

    @property
    def root_uri(self) -> str:
        """The root of the wrapped store."""
        return self._store.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The roots of the wrapped store."""
        return self._store.uri_roots

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object."""
        return self._in_time(key, lambda: self._store.get(key, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag still is `etag`."""
        return self._in_time(key, lambda: self._store.get_if_changed(key, etag=etag, max_bytes=max_bytes))

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        return self._in_time(key, lambda: self._store.stat(key))

    def create(self, key: str, data: bytes) -> str:
        """Write a new object."""
        return self._in_time(key, lambda: self._store.create(key, data))

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`."""
        return self._in_time(key, lambda: self._store.swap(key, data, expected=expected))

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        return self._in_time(key, lambda: self._store.put(key, data))

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`. All are listed before the first is yielded."""
        yield from self._in_time(prefix, lambda: tuple(self._store.list(prefix)))

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._in_time(key, lambda: self._store.delete(key))

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`."""
        self._in_time(key, lambda: self._store.delete_unchanged(key, expected=expected))

    def _in_time(self, key: str, call: Callable[[], Result]) -> Result:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise StoreUnavailableError(
                f"{key}: {_MOST_HANGING} earlier calls still hang: is the store or the network down?"
            )
        ended: list[tuple[Result, None] | tuple[None, BaseException]] = []
        thread = threading.Thread(target=lambda: ended.append(_outcome(call)), name=f"call for {key}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if not ended:
            self._hanging.append(thread)
            raise StoreUnavailableError(
                f"{key}: no whole answer within {self._seconds:g} s: try again, or raise Limits.call_seconds"
            )
        result, error = ended.pop()
        try:
            if error is not None:
                raise error
        finally:
            del error  # it refers to this frame, a cycle that would keep the bytes read in memory
        return cast("Result", result)


def _outcome(call: Callable[[], Result]) -> tuple[Result, None] | tuple[None, BaseException]:
    """Return the call's result, or its error, to be raised in the waiting thread."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - any error must reach the waiting thread
        return None, error
