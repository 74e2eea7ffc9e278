"""Readable bucket of any cloud: opened by URI, listed, read in ranges, with errors that name the next step.

The scheme of the URI selects the cloud, whose client is imported only when it is used.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import msgspec

from recsys_assets.errors import (
    Answer,
    ConfigurationError,
    InputError,
    MissingInputError,
    NotFoundError,
    RecsysAssetsError,
    StoreUnavailableError,
    UnsafeStoreError,
)

EXTRAS: Final[Mapping[str, str]] = {"s3": "", "gs": "gcs", "az": "azure"}  # schemes, and the extras with their clients
SCHEMES: Final = ", ".join(f"{scheme}://" for scheme in EXTRAS)  # list for messages
_STARTS: Final = tuple(f"{scheme}://" for scheme in EXTRAS)


class Cloud(msgspec.Struct, frozen=True):
    """Description of a cloud's client: its errors, their meaning, and the sources of its configuration."""

    scheme: str
    errors: tuple[type[Exception], ...]
    answer_of: Callable[[Exception], Answer]
    credentials: str  # the sources of credentials, for messages
    address: str  # the parts of the address to check, for messages

    def error_for(self, name: str, error: Exception) -> RecsysAssetsError:
        """Return the package's error for an error of the client, with `name` in front and the next step."""
        # Some clients write a page, and that of Azure repeats the whole answer.
        answer, text = self.answer_of(error), " ".join(str(error).split()).partition(" Content: <")[0]
        if answer is Answer.MISSING:
            return NotFoundError(f"{name} is not in the store")
        if answer is Answer.COLD:
            return InputError(
                f"{name} is in cold storage (Glacier or an archive tier): restore the object, wait for it, then "
                "run again; exclude such objects from the rules that archive them"
            )
        if answer is Answer.DENIED:
            return ConfigurationError(
                f"{name}: {text}: check the credentials ({self.credentials}), and what they permit on this bucket"
            )
        if answer is Answer.UNSUPPORTED:
            return UnsafeStoreError(
                f"{name}: {text}: the server does not support conditional writes, so two publishers could both win: "
                "use another server"
            )
        if answer in {Answer.WRONG, Answer.LOST, Answer.UNCHANGED}:
            return ConfigurationError(f"{name}: {text}: check {self.address}")
        return StoreUnavailableError(f"{name}: {text}: nothing is known to have changed; try again")

    @contextmanager
    def translated(self, name: str) -> Generator[None]:
        """Turn the client's errors into the package's, with `name` in front."""
        try:
            yield
        except self.errors as error:
            raise self.error_for(name, error) from error


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


def is_in_cloud(path: str) -> bool:
    """Return whether a path is the URI of a bucket, or of an object in one."""
    return path.startswith(_STARTS)


def split_uri(uri: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket and the key of a URI. The key is empty if the URI has none."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return scheme, bucket, key


@contextmanager
def client_imported(uri: str, scheme: str) -> Generator[None]:
    """Raise `ConfigurationError` naming `uri` and the extra to install if a library is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{uri} needs the library {error.name}, which is not installed: "
            f'pip install "recsys-assets[{EXTRAS[scheme]}]"'
        ) from error


def open_bucket(uri: str) -> Bucket:
    """Return the bucket of a URI, with a client configured by the environment.

    Raises `ConfigurationError` if the client is not installed or finds no credentials.
    """
    scheme, bucket, _ = split_uri(uri)
    with client_imported(uri, scheme):
        return _OPENERS[scheme](bucket)


def _open_s3(bucket: str) -> Bucket:
    from recsys_assets.clouds.s3 import S3Bucket, make_client  # noqa: PLC0415

    return S3Bucket(make_client(), bucket)


def _open_gcs(bucket: str) -> Bucket:
    from recsys_assets.clouds.gcs import GcsBucket, make_client  # noqa: PLC0415

    return GcsBucket(make_client(), bucket)


def _open_azure(bucket: str) -> Bucket:
    from recsys_assets.clouds.azure import AzureBucket, make_container  # noqa: PLC0415

    return AzureBucket(make_container(bucket))


_OPENERS: Final[Mapping[str, Callable[[str], Bucket]]] = {"s3": _open_s3, "gs": _open_gcs, "az": _open_azure}
