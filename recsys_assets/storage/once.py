"""A store for one look: each object is read once, so that every answer is about one state."""

from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from recsys_assets.errors import NotFoundError
from recsys_assets.storage.store import Listed, ObjectStore, Stored

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

    def get(self, key: str, *, max_bytes: int) -> Stored:
        """Return the object as it was when it was read first."""
        found = self._once(("get", key, max_bytes), lambda: self._get(key, max_bytes))
        if isinstance(found, NotFoundError):
            raise NotFoundError(str(found))
        return found

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> Stored | None:
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

    def _get(self, key: str, max_bytes: int) -> Stored | NotFoundError:
        try:
            return self._store.get(key, max_bytes=max_bytes)
        except NotFoundError as missing:
            return missing

    def _once(self, question: tuple[object, ...], ask: Callable[[], Result]) -> Result:
        if question not in self._answers:
            self._answers[question] = ask()
        return cast("Result", self._answers[question])
