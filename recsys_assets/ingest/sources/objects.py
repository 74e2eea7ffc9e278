"""Raw objects in a bucket: those that hold a day, and their bytes, continued where a broken connection left them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from recsys_assets.errors import Answer, ConfigurationError, InputError, MissingInputError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.streams import DecodedStream
from recsys_assets.ingest.sources.templates import check_template, expand, fixed_part, is_uncommitted, takes
from recsys_assets.retry import attempts
from recsys_assets.s3.answers import S3_ERRORS, answer_of, error_for
from recsys_assets.s3.client import list_objects
from recsys_assets.settings.settings import Settings

_TRIES = 4  # without a single byte between them; the client waits between its own
SCHEME = "s3://"


class ObjectStream(DecodedStream):
    """The `DecodedStream` of exactly the object that has this etag.

    Raises `InputError` if the object is another one by now, gone, in cold storage, or may not be read;
    `StoreUnavailableError` if its server does not answer.
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
    """Return an object's etag as the mark of its content, so that nothing is read to compare it."""
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
        for attempt in attempts(_TRIES, first_seconds=0):
            if self.size == self._end:
                return 0
            try:
                count = self._body.readinto(buffer) or 0
            except S3_ERRORS as error:
                if attempt == _TRIES - 1 or answer_of(error) is not Answer.SILENT:
                    raise self._translate_error(error) from error
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
            raise self._translate_error(error) from error

    def _translate_error(self, error: Exception) -> Exception:
        answer = answer_of(error)
        if answer is Answer.LOST:
            return InputError(f"{self._name} changed while it was read; run the day again once it is complete")
        if answer is Answer.MISSING:
            return InputError(f"{self._name} is gone since it was listed; run the day again")
        if answer is Answer.DENIED:  # the bucket was listed: it is this object alone, or its key
            return InputError(f"{self._name} may not be read ({error}): give the right to read it and run again")
        return error_for(self._name, error)


@dataclass(frozen=True, slots=True)
class RawObject:
    """One object of a day as it was listed: its place, its size, its etag, its targets."""

    client: Any
    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """Its URI."""
        return f"{SCHEME}{self.bucket}/{self.key}"

    def open(self) -> ObjectStream:
        """Return the decompressed bytes of the very object that was listed."""
        return ObjectStream(self.client, bucket=self.bucket, key=self.key, etag=self.etag, size=self.size)

    def open_seekable(self) -> SeekableObject:
        """Return the object's bytes as stored, to be read here and there."""
        return SeekableObject(self.client, bucket=self.bucket, key=self.key, etag=self.etag, size=self.size)

    def digest(self) -> str:
        """Return the mark of the object's content, by its etag; nothing is read."""
        return mark_of(self.etag)

    def appearance(self) -> str:
        """Return name, size and mark."""
        return f"{self.name} {self.size} {self.digest()}"

    def touched_at(self) -> datetime:
        """Return when the object was written, by its server's clock."""
        return self.modified


def find_objects(settings: Settings, day: date, *, client: Any, skipped: list[str] | None = None) -> list[RawObject]:
    """Return the objects of `day` by key, each once, with the targets whose expansion of the template matched it.

    The template is `raw.exposures`: `s3://bucket/` and a key with the fields and wildcards that a path may have. No
    object at all is an empty list, but only if the bucket is there and may be listed. Keys that `is_uncommitted` passes
    over are appended to `skipped`.

    Raises `ConfigurationError` (template, bucket, credentials), `StoreUnavailableError` (no answer).
    """
    bucket, template = _bucket_and_key(settings.raw.exposures)
    check_template(template)
    patterns = {row.target: expand(template, day, tenant=row.tenant, surface=row.surface) for row in settings.targets}
    found: dict[str, tuple[Mapping[str, Any], list[Target]]] = {}
    passed_over: set[str] = set()
    listed = {prefix: _list(client, bucket, prefix) for prefix in {fixed_part(p) for p in patterns.values()}}
    for target, pattern in patterns.items():
        for entry in listed[fixed_part(pattern)]:
            if takes(pattern, entry["Key"]):
                found.setdefault(entry["Key"], (entry, []))[1].append(target)
                if is_uncommitted(pattern, entry["Key"]):
                    passed_over.add(entry["Key"])
    if skipped is not None:
        skipped += [f"{SCHEME}{bucket}/{key}" for key in sorted(passed_over)]
    found = {key: pair for key, pair in found.items() if key not in passed_over}
    return [_object(client, bucket, entry, targets) for _, (entry, targets) in sorted(found.items())]


def open_object(uri: str, *, client: Any) -> ObjectStream:
    """Return the decompressed bytes of one object; `InputError` if it is not there."""
    return find_object(uri, client=client).open()


def find_object(uri: str, *, client: Any) -> RawObject:
    """Return one object by its whole name; `InputError` if it is not there."""
    bucket, key = _bucket_and_key(uri)
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except S3_ERRORS as error:
        if answer_of(error) is Answer.MISSING:
            raise MissingInputError(f"{uri} is not there: put it there, or name another place") from error
        raise error_for(uri, error) from error
    size, modified = int(head["ContentLength"]), head["LastModified"]
    return RawObject(client, bucket, key, size=size, etag=head["ETag"], modified=modified, targets=())


def names_below(folder: str, *, client: Any) -> list[str]:
    """Return the names of a few objects and folders right below `s3://bucket/prefix/`: one page of them."""
    bucket, _, prefix = folder.removeprefix(SCHEME).partition("/")
    try:
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/")
    except S3_ERRORS as error:
        raise error_for(folder, error) from error
    found = [entry["Key"] for entry in page.get("Contents", ())]
    found += [entry["Prefix"].rstrip("/") for entry in page.get("CommonPrefixes", ())]
    return [key.removeprefix(prefix) for key in found]


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not bucket or not key or fixed_part(bucket) != bucket or "{" in bucket:
        raise ConfigurationError(f"{uri!r}: expected s3://bucket/key, the bucket without wildcards and fields")
    return bucket, key


def _list(client: Any, bucket: str, prefix: str) -> list[Mapping[str, Any]]:
    """Return the objects below a prefix, but not those that only stand for a folder."""
    return [entry for entry in list_objects(client, bucket=bucket, prefix=prefix) if not entry["Key"].endswith("/")]


def _object(client: Any, bucket: str, entry: Mapping[str, Any], targets: list[Target]) -> RawObject:
    return RawObject(
        client,
        bucket,
        key=entry["Key"],
        size=int(entry["Size"]),
        etag=entry["ETag"],
        modified=entry["LastModified"],
        targets=tuple(sorted(targets)),
    )
