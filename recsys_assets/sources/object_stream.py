"""The bytes of one object in a bucket, read on where a broken connection left them."""

import io
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
        asked = {"Bucket": bucket, "Key": key, "IfMatch": etag}
        super().__init__(_ObjectBytes(client, name, asked, start=0, end=size), name=name)


class SeekableObject(io.RawIOBase):
    """The bytes of exactly the object that has this etag, read here and there by a request for each piece.

    Errors are those of `ObjectStream`.
    """

    def __init__(self, client: Any, *, bucket: str, key: str, etag: str, size: int) -> None:
        self._client = client
        self._name = f"s3://{bucket}/{key}"
        self._asked = {"Bucket": bucket, "Key": key, "IfMatch": etag}
        self._place = 0
        self.size = size
        self.digest = mark_of(etag)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is asked of the server."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill the front of `buffer`, all of it but at the end of the object, and return how many bytes."""
        start, end = self._place, min(self._place + len(buffer), self.size)
        if start >= end:
            return 0
        piece = _ObjectBytes(self._client, self._name, self._asked, start=start, end=end)
        with memoryview(buffer) as view:
            while count := piece.readinto(view[self._place - start : end - start]):
                self._place += count
        piece.close()
        return end - start

    def changed(self) -> bool:
        """Return False: the etag is a condition of every request."""
        return False


def mark_of(etag: str) -> str:
    """Return an object's etag as what tells its content from others, so that nothing is read to compare it."""
    return f"etag:{etag.strip(chr(34))}"


class _ObjectBytes:
    """The `StoredBytes` of an object from one place to another."""

    def __init__(self, client: Any, name: str, asked: dict[str, str], *, start: int, end: int) -> None:
        self._client = client
        self._name = name
        self._asked = asked
        self._end = end
        self.size = start  # how far it is read
        self._body = self._ask()
        self.closed = False

    @property
    def digest(self) -> str:
        return mark_of(self._asked["IfMatch"])

    def readinto(self, buffer: memoryview) -> int:
        for left in range(_TRIES, 0, -1):
            if self.size == self._end:
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
            self._body = self._ask()
        raise InputError(f"{self._name} ends after {self.size} bytes, not {self._end}; run the day again")

    def changed(self) -> bool:
        """Return False: the etag is a condition of every request."""
        return False

    def close(self) -> None:
        self._body.close()
        self.closed = True

    def _ask(self) -> Any:
        # No server takes a range of no bytes.
        part = {"Range": f"bytes={self.size}-{self._end - 1}"} if self._end else {}
        try:
            return self._client.get_object(**self._asked, **part)["Body"]
        except S3_ERRORS as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        answer = answer_of(error)
        if answer is Answer.LOST:
            return InputError(f"{self._name} changed while it was read; run the day again once it is complete")
        if answer is Answer.MISSING:
            return InputError(f"{self._name} is gone since it was listed; run the day again")
        return error_for(self._name, error)
