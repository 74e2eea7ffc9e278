"""A bucket of any cloud as raw inputs need it: listed, looked up, and read from one byte to another under a mark."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from recsys_assets.clouds.answers import Cloud
from recsys_assets.errors import Answer, MissingInputError


class BucketEntry(NamedTuple):
    """One object as it is listed: its mark is new whenever its content is."""

    key: str
    size: int
    mark: str
    modified: datetime


class ObjectBody(Protocol):
    """Bytes of an object as they come."""

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill the front of `buffer` and return how many bytes; 0 at the end. Raises the client's errors."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Bucket(ABC):
    """A bucket that is only read; what a cloud's client does is behind the abstract methods, which raise its errors."""

    cloud: ClassVar[Cloud]
    marked_by: ClassVar[str] = "etag"

    def __init__(self, name: str) -> None:
        self.name = name

    def uri(self, key: str) -> str:
        """Return the whole name of an object."""
        return f"{self.cloud.scheme}://{self.name}/{key}"

    def digest(self, mark: str) -> str:
        """Return an object's mark as the identity of its content, so that nothing is read to compare it."""
        return f"{self.marked_by}:{mark}"

    def list(self, prefix: str) -> Iterator[BucketEntry]:
        """Yield all objects whose keys begin with `prefix`, but those that only stand for a folder.

        Raises `StoreUnavailableError` if a page is missing, `ConfigurationError` for a wrong bucket or missing rights.
        """
        with self.cloud.translated(self.uri(prefix)):
            yield from (entry for entry in self._entries(prefix) if not entry.key.endswith("/"))

    def names_below(self, prefix: str) -> "list[str]":
        """Return the names of a few objects and folders right below `prefix`, which ends with a slash: one page."""
        with self.cloud.translated(self.uri(prefix)):
            return [name.removeprefix(prefix).rstrip("/") for name in self._below(prefix)]

    def find(self, key: str) -> BucketEntry:
        """Return one object by its whole key; `MissingInputError` if it is not there."""
        try:
            return self._head(key)
        except self.cloud.errors as error:
            if self.cloud.answer_of(error) is Answer.MISSING:
                raise MissingInputError(f"{self.uri(key)} is not there: put it there, or name another place") from error
            raise self.cloud.error_for(self.uri(key), error) from error

    @abstractmethod
    def ask(self, key: str, *, mark: str, start: int, end: int) -> ObjectBody:
        """Return the bytes of exactly the object with this mark, from one place to another, as they are stored.

        `end` is at most its size. An object that has another mark by now is an error whose meaning is `LOST`.
        """

    @abstractmethod
    def _entries(self, prefix: str) -> Iterator[BucketEntry]: ...

    @abstractmethod
    def _below(self, prefix: str) -> "list[str]": ...

    @abstractmethod
    def _head(self, key: str) -> BucketEntry: ...
