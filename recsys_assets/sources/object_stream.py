"""The bytes of one object in a bucket as a stream that goes on where a broken connection left it."""

from typing import Any

from recsys_assets.errors import InputError
from recsys_assets.s3.answers import S3_ERRORS, Answer, answer_of, error_for
from recsys_assets.sources.streams import DecodedStream

_TRIES = 4  # without a single byte between them; the client waits between its own


class ObjectStream(DecodedStream):
    """The `DecodedStream` of exactly the object that has this etag.

    Raises `InputError` if the object is another one by now or gone, `StoreUnavailableError` if its server does not
    answer, `ConfigurationError` if it may not be read.
    """

    def __init__(self, client: Any, *, bucket: str, key: str, etag: str, size: int) -> None:
        name = f"s3://{bucket}/{key}"
        super().__init__(_ObjectBytes(client, name, {"Bucket": bucket, "Key": key, "IfMatch": etag}, size), name=name)


def mark_of(etag: str) -> str:
    """Return an object's etag as what tells its content from others, so that nothing is read to compare it."""
    return f"etag:{etag.strip(chr(34))}"


class _ObjectBytes:
    """The `StoredBytes` of an object."""

    def __init__(self, client: Any, name: str, asked: dict[str, str], whole: int) -> None:
        self._client = client
        self._name = name
        self._asked = asked
        self._whole = whole
        self._body = self._ask()
        self.size = 0
        self.closed = False

    @property
    def digest(self) -> str:
        return mark_of(self._asked["IfMatch"])

    def readinto(self, buffer: memoryview) -> int:
        for left in range(_TRIES, 0, -1):
            if self.size == self._whole:
                return 0
            try:
                count = self._body.readinto(buffer) or 0
            except S3_ERRORS as error:
                if left == 1 or answer_of(error) is not Answer.SILENT:
                    raise self._told(error) from error
                count = 0
            self.size += count
            if count:
                return count
            self._body.close()
            self._body = self._ask(Range=f"bytes={self.size}-")
        raise InputError(f"{self._name} ends after {self.size} of {self._whole} bytes; run the day again")

    def changed(self) -> bool:
        """Return False: the etag is a condition of every request."""
        return False

    def close(self) -> None:
        self._body.close()
        self.closed = True

    def _ask(self, **more: str) -> Any:
        try:
            return self._client.get_object(**self._asked, **more)["Body"]
        except S3_ERRORS as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        answer = answer_of(error)
        if answer is Answer.LOST:
            return InputError(f"{self._name} changed while it was read; run the day again once it is complete")
        if answer is Answer.MISSING:
            return InputError(f"{self._name} is gone since it was listed; run the day again")
        return error_for(self._name, error)
