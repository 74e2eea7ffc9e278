"""Raw objects of a day in a bucket, and their bytes, read on from the same position after a broken connection."""

import io
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime
from typing import Any, Final

import msgspec

from recsys_assets.clouds.bucket import Bucket, BucketEntry, ObjectBody, open_bucket, split_uri
from recsys_assets.errors import Answer, ConfigurationError, InputError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.files import check_template, expand, fixed_part, is_uncommitted, matches
from recsys_assets.ingest.sources.streams import DecodedStream
from recsys_assets.retry import attempts
from recsys_assets.settings.settings import Settings

_TRIES: Final = 4  # Failures in a row without a single byte. The client waits between its own retries.


class SeekableObject(io.RawIOBase):
    """The bytes of exactly the object that was listed, with random access: one request for each piece.

    Raises the errors of `RawObject.open`.
    """

    def __init__(self, bucket: Bucket, entry: BucketEntry) -> None:
        self._bucket = bucket
        self._entry = entry
        self._position = 0
        self.size = entry.size
        self.digest = bucket.digest(entry.mark)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next read, without a request."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, or its front at the end of the object. Returns the number of bytes."""
        start, end = self._position, min(self._position + len(buffer), self.size)
        if start >= end:
            return 0
        with (
            closing(_ObjectBytes(self._bucket, self._entry, start=start, end=end)) as piece,
            memoryview(buffer) as view,
        ):
            while count := piece.readinto(view[self._position - start : end - start]):
                self._position += count
        return end - start

    def changed(self) -> bool:
        """Return False: every request is conditional on the mark."""
        return False


class _ObjectBytes:
    """The `StoredBytes` of an object from `start` to `end`."""

    def __init__(self, bucket: Bucket, entry: BucketEntry, *, start: int, end: int) -> None:
        self._bucket = bucket
        self._entry = entry
        self._name = bucket.uri(entry.key)
        self._end = end
        self.size = start  # the position up to which it is read
        self._body = self._request()
        self.closed = False

    @property
    def digest(self) -> str:
        return self._bucket.digest(self._entry.mark)

    def readinto(self, buffer: memoryview) -> int:
        cloud = self._bucket.cloud
        for attempt in attempts(_TRIES, first_seconds=0):
            if self.size == self._end:
                return 0
            try:
                count = self._body.readinto(buffer) or 0
            except cloud.errors as error:
                if attempt == _TRIES - 1 or cloud.answer_of(error) is not Answer.SILENT:
                    raise self._translate_error(error) from error
                count = 0
            self.size += count
            if count:
                return count
            self._body.close()
            self._body = self._request()
        raise InputError(f"{self._name} ends after {self.size} bytes, not {self._end}; run the day again")

    def changed(self) -> bool:
        """Return False: every request is conditional on the mark."""
        return False

    def close(self) -> None:
        self._body.close()
        self.closed = True

    def _request(self) -> ObjectBody:
        try:
            return self._bucket.ask(self._entry.key, mark=self._entry.mark, start=self.size, end=self._end)
        except self._bucket.cloud.errors as error:
            raise self._translate_error(error) from error

    def _translate_error(self, error: Exception) -> Exception:
        answer = self._bucket.cloud.answer_of(error)
        if answer is Answer.LOST:
            return InputError(f"{self._name} changed while it was read; run the day again once it is complete")
        if answer is Answer.MISSING:
            return InputError(f"{self._name} vanished after it was listed; run the day again")
        if answer is Answer.DENIED:  # the bucket was listed: only this object, or its encryption key, is denied
            return InputError(f"{self._name} may not be read ({error}): give the right to read it and run again")
        return self._bucket.cloud.error_for(self._name, error)


class RawObject(msgspec.Struct, frozen=True):
    """One object of a day as it was listed, and its targets."""

    bucket: Bucket
    entry: BucketEntry
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """The URI of the object."""
        return self.bucket.uri(self.entry.key)

    def open(self) -> DecodedStream:
        """Return the decompressed bytes of exactly the object that was listed.

        Raises `InputError` if it was replaced or deleted since, is in cold storage, or may not be read. Raises
        `StoreUnavailableError` if its server does not answer.
        """
        return DecodedStream(_ObjectBytes(self.bucket, self.entry, start=0, end=self.entry.size), name=self.name)

    def open_seekable(self) -> SeekableObject:
        """Return the object's bytes as stored, with random access."""
        return SeekableObject(self.bucket, self.entry)

    def digest(self) -> str:
        """Return the mark of the object's content, without reading it."""
        return self.bucket.digest(self.entry.mark)

    def appearance(self) -> str:
        """Return name, size and mark."""
        return f"{self.name} {self.entry.size} {self.digest()}"

    def touched_at(self) -> datetime:
        """Return the time at which the object was written, by its server's clock."""
        return self.entry.modified


def find_objects(
    settings: Settings,
    day: date,
    *,
    skipped: list[str] | None = None,
    opener: Callable[[str], Bucket] = open_bucket,
) -> list[RawObject]:
    """Return the objects of `day` by key, each once, with the targets whose expansion of the template matched it.

    The template is `raw.exposures`: `s3://bucket/` (or gs, or az) and a key with the fields and wildcards that a path
    may have. The list is empty only if the bucket exists, may be listed and has no such object. Keys that
    `is_uncommitted` skips are appended to `skipped`. `opener` returns the bucket of a URI.

    Raises `ConfigurationError` (template, bucket, credentials, client) or `StoreUnavailableError` (no answer).
    """
    uri = settings.raw.exposures
    template = _checked_key(uri)
    check_template(template)
    bucket = opener(uri)
    patterns = {row.target: expand(template, day, tenant=row.tenant, surface=row.surface) for row in settings.targets}
    matched: dict[str, tuple[BucketEntry, list[Target]]] = {}
    passed_over: set[str] = set()
    listed = {prefix: list(bucket.list(prefix)) for prefix in {fixed_part(p) for p in patterns.values()}}
    for target, pattern in patterns.items():
        for entry in listed[fixed_part(pattern)]:
            if matches(pattern, entry.key):
                matched.setdefault(entry.key, (entry, []))[1].append(target)
                if is_uncommitted(pattern, entry.key):
                    passed_over.add(entry.key)
    if skipped is not None:
        skipped += [bucket.uri(key) for key in sorted(passed_over)]
    taken = [pair for key, pair in sorted(matched.items()) if key not in passed_over]
    return [RawObject(bucket, entry, tuple(sorted(targets))) for entry, targets in taken]


def find_object(uri: str) -> RawObject:
    """Return one object by its URI. Raises `InputError` if it is missing."""
    key = _checked_key(uri)
    bucket = open_bucket(uri)
    return RawObject(bucket, bucket.find(key), targets=())


def names_below(folder: str) -> list[str]:
    """Return the first page of the names of objects and folders directly below `scheme://bucket/prefix/`."""
    _, _, prefix = split_uri(folder)
    return open_bucket(folder).names_below(prefix)


def _checked_key(uri: str) -> str:
    """Return the key of a URI. Raises `ConfigurationError` without bucket or key, or with wildcards in the bucket."""
    scheme, bucket, key = split_uri(uri)
    if not bucket or not key or fixed_part(bucket) != bucket or "{" in bucket:
        raise ConfigurationError(f"{uri!r}: expected {scheme}://bucket/key, the bucket without wildcards and fields")
    return key
