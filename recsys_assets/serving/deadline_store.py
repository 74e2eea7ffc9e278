"""A store that answers in time or not at all: an answer that trickles in for hours is no better than none."""

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.storage.store import Listed, ObjectStore, StoredObject

_MOST_HANGING = 4  # calls that were given up and have not ended; no more are begun until one does

Result = TypeVar("Result")


class DeadlineStore:
    """Another store, each call of which ends within `seconds`, by `StoreUnavailableError` if need be.

    Timeouts of sockets start again with every byte, and a folder of another machine has none. So a call runs in a
    thread of its own that is left behind when its time is over; it holds what it read until it ends.
    """

    def __init__(self, store: ObjectStore, *, seconds: float) -> None:
        self._store = store
        self._seconds = seconds
        self._hanging: list[threading.Thread] = []

    @property
    def root_uri(self) -> str:
        """That of the store behind it."""
        return self._store.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """Those of the store behind it."""
        return self._store.uri_roots

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object."""
        return self._in_time(key, lambda: self._store.get(key, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object unless it still is the one marked `etag`."""
        return self._in_time(key, lambda: self._store.get_if_changed(key, etag=etag, max_bytes=max_bytes))

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the object, or None."""
        return self._in_time(key, lambda: self._store.stat(key))

    def create(self, key: str, data: bytes) -> str:
        """Write a new object."""
        return self._in_time(key, lambda: self._store.create(key, data))

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object read as `expected`."""
        return self._in_time(key, lambda: self._store.swap(key, data, expected=expected))

    def put(self, key: str, data: bytes) -> str:
        """Write the object whatever was there."""
        return self._in_time(key, lambda: self._store.put(key, data))

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`, all of them in hand before the first is yielded."""
        yield from self._in_time(prefix, lambda: tuple(self._store.list(prefix)))

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._in_time(key, lambda: self._store.delete(key))

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object read as `expected`."""
        self._in_time(key, lambda: self._store.delete_unchanged(key, expected=expected))

    def _in_time(self, key: str, call: Callable[[], Result]) -> Result:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise StoreUnavailableError(
                f"{key}: {_MOST_HANGING} earlier calls still hang: is the store or its way down?"
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
            del error  # it holds this frame, which would hold it, and with it whatever was read
        return cast("Result", result)


def _outcome(call: Callable[[], Result]) -> tuple[Result, None] | tuple[None, BaseException]:
    """Return the call's result, or what it raised, to be raised where it is waited for."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - whatever it is, the one who waits must get it
        return None, error
