"""Readable bucket of any cloud, for raw inputs: objects are listed, looked up, and read in ranges under a mark."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Protocol

from recsys_assets.clouds.answers import Cloud
from recsys_assets.errors import Answer, MissingInputError


class BucketEntry(NamedTuple):
    """One object as listed: key, size in bytes, time of the last write, and a mark that changes with the content."""

    key: str
    size: int
    mark: str
    modified: datetime


class ObjectBody(Protocol):
    """Bytes of an object while they are received."""

    def readinto(self, buffer: Any, /) -> int | None:
        """Fill the front of `buffer` and return the number of bytes, 0 at the end. Raises the client's errors."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Bucket(ABC):
    """A bucket that is only read. The abstract methods call a cloud's client and raise its errors."""

    cloud: ClassVar[Cloud]
    marked_by: ClassVar[str] = "etag"

    def __init__(self, name: str) -> None:
        self.name = name

    def uri(self, key: str) -> str:
        """Return the URI of an object."""
        return f"{self.cloud.scheme}://{self.name}/{key}"

    def digest(self, mark: str) -> str:
        """Return the identity of an object's content, made of its mark, so that the content need not be read."""
        return f"{self.marked_by}:{mark}"

    def list(self, prefix: str) -> Iterator[BucketEntry]:
        """Yield all objects whose keys begin with `prefix`, except placeholders of folders.

        Raises `StoreUnavailableError` if a page is missing, `ConfigurationError` for a wrong bucket or missing rights.
        """
        with self.cloud.translated(self.uri(prefix)):
            yield from (entry for entry in self._entries(prefix) if not entry.key.endswith("/"))

    def names_below(self, prefix: str) -> "list[str]":
        """Return the first page of the names of objects and folders directly below `prefix`, which ends with a slash.

        Raises as `list`.
        """
        with self.cloud.translated(self.uri(prefix)):
            return [name.removeprefix(prefix).rstrip("/") for name in self._below(prefix)]

    def find(self, key: str) -> BucketEntry:
        """Return one object by its whole key.

        Raises `MissingInputError` if it is missing, and the errors of `Cloud.error_for` for all other failures.
        """
        try:
            return self._head(key)
        except self.cloud.errors as error:
            if self.cloud.answer_of(error) is Answer.MISSING:
                raise MissingInputError(
                    f"{self.uri(key)} is missing: put it there, or configure another path"
                ) from error
            raise self.cloud.error_for(self.uri(key), error) from error

    @abstractmethod
    def ask(self, key: str, *, mark: str, start: int, end: int) -> ObjectBody:
        """Return the stored bytes from `start` to `end` of exactly the object with this mark.

        `end` is at most its size. If the object has another mark, an error of the client is raised that means `LOST`.
        """

    @abstractmethod
    def _entries(self, prefix: str) -> Iterator[BucketEntry]: ...

    @abstractmethod
    def _below(self, prefix: str) -> "list[str]": ...

    @abstractmethod
    def _head(self, key: str) -> BucketEntry: ...
