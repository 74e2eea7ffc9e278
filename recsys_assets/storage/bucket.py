"""Store in a bucket of any cloud: determines the outcome of each write, on top of a few requests of a client."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, NamedTuple, TypeVar

from recsys_assets.clouds.bucket import Cloud
from recsys_assets.errors import (
    Answer,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.storage.store import (
    Listed,
    StoredObject,
    check_bucket_prefix,
    check_key,
    check_prefix,
    check_root,
    is_key,
)

Found = TypeVar("Found", bound=StoredObject | None)

_TRIES: Final = 5


class BrokenOffError(StoreUnavailableError):
    """A body that ended before its announced size."""


class Condition(NamedTuple):
    """Precondition of a write: the object has this etag, or, with None, does not exist."""

    etag: str | None


class BucketStore(ABC):
    """Objects in a bucket below a prefix. The abstract methods call the client of one cloud.

    Conditional writes are single requests that the client does not retry by itself: after a timeout, a broken
    connection or a 5xx the object is read back. If it holds our bytes, the write succeeded. If it holds other bytes,
    another writer was first. If it holds the old bytes, the request is sent again, which its condition makes safe.
    """

    cloud: ClassVar[Cloud]
    pauses: tuple[float, float] = (0.05, 0.5)  # seconds before the second try, and the longest pause

    def __init__(self, *, bucket: str, prefix: str = "", public_root: str | None = None, pause: Pause = wait) -> None:
        self._bucket = bucket
        self._prefix = f"{check_bucket_prefix(prefix)}/" if prefix else ""
        self._pause = pause
        self._public_root = check_root(public_root) if public_root else None
        check_root(self.root_uri)

    @property
    def root_uri(self) -> str:
        """`scheme://bucket/prefix`."""
        return f"{self.cloud.scheme}://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The public root, if there is one, then `root_uri`."""
        return (self.root_uri,) if self._public_root is None else (self._public_root, self.root_uri)

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object, reading at most `max_bytes` of the body, whatever length the server announces."""
        name = self._name(key)
        return self._whole(key, lambda: self._fetch(name, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None, by a 304, if its etag still is `etag`."""
        name = self._name(key)

        def fetch() -> StoredObject | None:
            try:
                return self._fetch(name, max_bytes=max_bytes, unless=etag)
            except self.cloud.errors as error:
                if self.cloud.answer_of(error) is Answer.UNCHANGED:
                    return None
                raise

        return self._whole(key, fetch)

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        try:
            entry = self._head(self._name(key))
        except self.cloud.errors as error:
            if self.cloud.answer_of(error) is Answer.MISSING:
                return None
            raise self._error(key, error) from error
        return Listed(key, entry.size, entry.modified)

    def create(self, key: str, data: bytes) -> str:
        """Write a new object. Raises `ConflictError` if the key exists."""
        return self._write(key, data, Condition(None))

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`. Raises `ConflictError` if it has changed."""
        return self._write(key, data, Condition(expected))

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        try:
            return self._send(self._name(key), data, None)
        except self.cloud.errors as error:
            raise self._error(key, error) from error

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects below `prefix`, by key. Every page is fetched before the first object is yielded."""
        try:
            entries = list(self._entries(self._prefix + check_prefix(prefix)))
        except self.cloud.errors as error:
            raise self._error(prefix, error) from error
        cut = len(self._prefix)
        listed = (Listed(entry.key[cut:], entry.size, entry.modified) for entry in entries)
        yield from sorted(item for item in listed if is_key(item.key))

    def delete(self, key: str) -> None:
        """Remove the object. An absent object is not an error."""
        try:
            self._remove(self._name(key), None)
        except self.cloud.errors as error:
            if self.cloud.answer_of(error) is not Answer.MISSING:  # some servers reply 404 instead of 204
                raise self._error(key, error) from error

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`.

        Raises `ConflictError` if it has changed, `OutcomeUnknownError` if the reply was lost.
        """
        try:
            self._remove(self._name(key), Condition(expected))
        except self.cloud.errors as error:
            answer = self.cloud.answer_of(error)
            if answer in {Answer.LOST, Answer.MISSING, Answer.BUSY}:
                raise ConflictError(f"{key} has changed: expected etag {expected}") from error
            if answer is Answer.SILENT:
                raise OutcomeUnknownError(
                    f"{key}: {error}: it may have been removed; check before anything else"
                ) from error
            raise self._error(key, error) from error

    @abstractmethod
    def _fetch(self, name: str, *, max_bytes: int, unless: str | None = None) -> StoredObject:
        """Read an object in one request, no more than `max_bytes` of it (see `read_body`).

        If its etag is still `unless`, raises an error of the client that `answer_of` maps to `UNCHANGED`.
        """

    @abstractmethod
    def _head(self, name: str) -> Listed:
        """Return size and time of the last write of an object."""

    @abstractmethod
    def _send(self, name: str, data: bytes, condition: Condition | None) -> str:
        """Write an object in one request and return its etag. Never retried if there is a condition."""

    @abstractmethod
    def _remove(self, name: str, condition: Condition | None) -> None:
        """Remove an object in one request, never retried if there is a condition."""

    @abstractmethod
    def _entries(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose names begin with `prefix`. Raises rather than yield only some of them."""

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _error(self, key: str, error: Exception) -> Exception:
        """Return the package's error for an error of the client, with the URI of the object."""
        return self.cloud.error_for(f"{self.root_uri}/{key}", error)

    def _attempts(self) -> Iterator[int]:
        first, longest = self.pauses
        return attempts(_TRIES, first_seconds=first, longest_seconds=longest, pause=self._pause)

    def _whole(self, key: str, fetch: Callable[[], Found]) -> Found:
        """Call `fetch` again if a body broke off: clients retry requests, but not the reading of bodies."""
        broken_off = BrokenOffError(f"{key}: never tried")
        for _ in self._attempts():
            try:
                return fetch()
            except BrokenOffError as error:
                broken_off = error
            except self.cloud.errors as error:
                raise self._error(key, error) from error
        raise broken_off

    def _write(self, key: str, data: bytes, condition: Condition) -> str:
        """Send a conditional write until its outcome is known, at most `_TRIES` times."""
        name, silent = self._name(key), None
        for _ in self._attempts():
            try:
                return self._send(name, data, condition)
            except self.cloud.errors as error:
                answer = self.cloud.answer_of(error)
                if answer in {Answer.DENIED, Answer.WRONG, Answer.UNSUPPORTED}:
                    raise self._error(key, error) from error
                if answer in {Answer.LOST, Answer.MISSING} and silent is None:
                    raise ConflictError(f"{key} has changed: expected {condition.etag or 'no object'}") from error
                silent = error if answer is Answer.SILENT else silent
            if answer is not Answer.BUSY and (etag := self._read_back(key, data, expected=condition.etag)):
                return etag
        if silent is None:
            raise StoreUnavailableError(f"{key}: other writers were first each time: nothing has changed; try again")
        raise OutcomeUnknownError(f"{key}: {silent}: it may have been written; read it before anything else")

    def _read_back(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Return the etag if our bytes are stored, None if that is unknown.

        Raises `ConflictError` if other bytes are.
        """
        size = len(data)
        try:
            # The old object is recognised by its etag only: it may be larger than its replacement.
            state = (
                self.get_if_changed(key, etag=expected, max_bytes=size) if expected else self.get(key, max_bytes=size)
            )
        except (NotFoundError, StoreUnavailableError):
            return None
        except CorruptObjectError as error:
            raise ConflictError(f"{key} is larger than the bytes written: another writer replaced it") from error
        if state is None:
            return None
        if state.data == data:
            return state.etag
        raise ConflictError(f"{key} was written by another writer")


def read_body(
    read: Callable[[int], bytes], size: int, *, key: str, max_bytes: int, broken: tuple[type[Exception], ...]
) -> bytes:
    """Return a body of an announced size.

    Raises `CorruptObjectError` if that is too large, `BrokenOffError` if it ends early.

    `read` returns at most the given number of bytes. `broken` are the errors that it raises if the connection breaks.
    """
    if size > max_bytes:
        raise CorruptObjectError(f"{key} has {size} bytes, expected at most {max_bytes}")
    try:
        data = read(max_bytes + 1)
    except broken as error:
        raise BrokenOffError(f"{key}: {error}: the response broke off; try again") from error
    if len(data) != size:
        raise BrokenOffError(f"{key}: the response broke off after {len(data)} of {size} bytes; try again")
    return data
