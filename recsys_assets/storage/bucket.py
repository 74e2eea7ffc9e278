"""Objects in a bucket of any cloud: one way to find out what became of a write, over the few requests of a client."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, NamedTuple, TypeVar

from recsys_assets.clouds.answers import Cloud
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
    """What must hold for a write: the object is the one marked `etag`, or, with None, absent."""

    etag: str | None


class BucketStore(ABC):
    """Objects in a bucket below a prefix; what a cloud's client does is behind the abstract methods.

    Conditional writes are single requests that the client does not repeat by itself: after a timeout, a broken
    connection or a 5xx the object is read back. Our bytes there: the write won. Other bytes: somebody else did. The old
    bytes: the request is sent again, which its condition makes safe.
    """

    cloud: ClassVar[Cloud]
    pauses: tuple[float, float] = (0.05, 0.5)  # seconds before a second try, and at most

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
        """The public root, if there is one, and its own."""
        return (self.root_uri,) if self._public_root is None else (self._public_root, self.root_uri)

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object; the body is read only up to `max_bytes`, whatever length the server announces."""
        name = self._name(key)
        return self._whole(key, lambda: self._fetch(name, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object unless it still is the one marked `etag`, for one 304."""
        name = self._name(key)

        def ask() -> StoredObject | None:
            try:
                return self._fetch(name, max_bytes=max_bytes, unless=etag)
            except self.cloud.errors as error:
                if self.cloud.answer_of(error) is Answer.UNCHANGED:
                    return None
                raise

        return self._whole(key, ask)

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the object, or None."""
        try:
            found = self._head(self._name(key))
        except self.cloud.errors as error:
            if self.cloud.answer_of(error) is Answer.MISSING:
                return None
            raise self.cloud.error_for(key, error) from error
        return Listed(key, found.size, found.modified)

    def create(self, key: str, data: bytes) -> str:
        """Write a new object, if there is none."""
        return self._write(key, data, Condition(None))

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object read as `expected`."""
        return self._write(key, data, Condition(expected))

    def put(self, key: str, data: bytes) -> str:
        """Write the object whatever was there."""
        try:
            return self._send(self._name(key), data, None)
        except self.cloud.errors as error:
            raise self.cloud.error_for(key, error) from error

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects below `prefix`, by key; every page is fetched before the first object is yielded."""
        try:
            entries = list(self._entries(self._prefix + check_prefix(prefix)))
        except self.cloud.errors as error:
            raise self.cloud.error_for(prefix or self.root_uri, error) from error
        cut = len(self._prefix)
        found = (Listed(entry.key[cut:], entry.size, entry.modified) for entry in entries)
        yield from sorted(item for item in found if is_key(item.key))

    def delete(self, key: str) -> None:
        """Remove the object; absent is fine."""
        try:
            self._remove(self._name(key), None)
        except self.cloud.errors as error:
            if self.cloud.answer_of(error) is not Answer.MISSING:  # not every server says 204 to that
                raise self.cloud.error_for(key, error) from error

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object read as `expected`."""
        try:
            self._remove(self._name(key), Condition(expected))
        except self.cloud.errors as error:
            answer = self.cloud.answer_of(error)
            if answer in {Answer.LOST, Answer.MISSING, Answer.BUSY}:
                raise ConflictError(f"{key} is not what was expected ({expected})") from error
            if answer is Answer.SILENT:
                raise OutcomeUnknownError(f"{key}: {error}: it may have been removed; look before all else") from error
            raise self.cloud.error_for(key, error) from error

    @abstractmethod
    def _fetch(self, name: str, *, max_bytes: int, unless: str | None = None) -> StoredObject:
        """Read an object in one request, no more than `max_bytes` of it (see `read_body`).

        An answer that it is still the one marked `unless` is an error whose meaning is `UNCHANGED`.
        """

    @abstractmethod
    def _head(self, name: str) -> Listed:
        """Return size and time of an object."""

    @abstractmethod
    def _send(self, name: str, data: bytes, condition: Condition | None) -> str:
        """Write an object in one request, never repeated under a condition, and return its mark."""

    @abstractmethod
    def _remove(self, name: str, condition: Condition | None) -> None:
        """Remove an object in one request, never repeated under a condition."""

    @abstractmethod
    def _entries(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects whose names begin with `prefix`; an error rather than a part."""

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _attempts(self) -> Iterator[int]:
        first, longest = self.pauses
        return attempts(_TRIES, first_seconds=first, longest_seconds=longest, pause=self._pause)

    def _whole(self, key: str, ask: Callable[[], Found]) -> Found:
        """Return what is read whole, asked for again where a body broke off: clients repeat requests, not bodies."""
        broken_off = BrokenOffError(f"{key}: never tried")
        for _ in self._attempts():
            try:
                return ask()
            except BrokenOffError as error:
                broken_off = error
            except self.cloud.errors as error:
                raise self.cloud.error_for(key, error) from error
        raise broken_off

    def _write(self, key: str, data: bytes, condition: Condition) -> str:
        """Send a conditional write until its outcome is known, a handful of times at most."""
        name, silent = self._name(key), None
        for _ in self._attempts():
            try:
                return self._send(name, data, condition)
            except self.cloud.errors as error:
                answer = self.cloud.answer_of(error)
                if answer in {Answer.DENIED, Answer.WRONG, Answer.UNSUPPORTED}:
                    raise self.cloud.error_for(key, error) from error
                if answer in {Answer.LOST, Answer.MISSING} and silent is None:
                    raise ConflictError(f"{key} is not what was expected ({condition.etag or 'absent'})") from error
                silent = error if answer is Answer.SILENT else silent
            if answer is not Answer.BUSY and (etag := self._read_back(key, data, expected=condition.etag)):
                return etag
        if silent is None:
            raise StoreUnavailableError(f"{key}: other writers were always first: nothing has changed; try again")
        raise OutcomeUnknownError(f"{key}: {silent}: it may have been written; read it before anything else")

    def _read_back(self, key: str, data: bytes, *, expected: str | None) -> str | None:
        """Return the etag if our bytes are there, None if that is still open; `ConflictError` if others are there."""
        size = len(data)
        try:
            # The old object is known by its etag alone: it may be larger than what was to replace it.
            found = (
                self.get_if_changed(key, etag=expected, max_bytes=size) if expected else self.get(key, max_bytes=size)
            )
        except (NotFoundError, StoreUnavailableError):
            return None
        except CorruptObjectError as error:
            raise ConflictError(f"{key} is larger than what was written: somebody else wrote it") from error
        if found is None:
            return None
        if found.data == data:
            return found.etag
        raise ConflictError(f"{key} was written by somebody else")


def read_body(
    read: Callable[[int], bytes], size: int, *, key: str, max_bytes: int, broken: tuple[type[Exception], ...]
) -> bytes:
    """Return a body of an announced size; `CorruptObjectError` if that is too large, `BrokenOffError` if it ends early.

    `read` returns at most so many bytes; `broken` are the errors of a connection that ends while it does.
    """
    if size > max_bytes:
        raise CorruptObjectError(f"{key} has {size} bytes: at most {max_bytes} are read")
    try:
        data = read(max_bytes + 1)
    except broken as error:
        raise BrokenOffError(f"{key}: {error}: the answer broke off; try again") from error
    if len(data) != size:
        raise BrokenOffError(f"{key}: the answer broke off after {len(data)} of {size} bytes: try again")
    return data
