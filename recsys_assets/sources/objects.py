"""Which raw objects in a bucket hold a day, found by the path template of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from recsys_assets.config.settings import Settings
from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.identity import Target
from recsys_assets.s3.answers import S3_ERRORS, Answer, answer_of, error_for
from recsys_assets.s3.listing import list_objects
from recsys_assets.sources.object_stream import ObjectStream, SeekableObject, mark_of
from recsys_assets.sources.templates import check_template, expand, fixed_part, takes

SCHEME = "s3://"


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


def find_objects(settings: Settings, day: date, *, client: Any) -> list[RawObject]:
    """Return the objects of `day` by key, each once, with the targets whose expansion of the template matched it.

    The template is `raw.exposures`: `s3://bucket/` and a key with the fields and wildcards that a path may have. No
    object at all is an empty list, but only if the bucket is there and may be listed.

    Raises `ConfigurationError` (template, bucket, credentials), `StoreUnavailableError` (no answer).
    """
    bucket, template = _bucket_and_key(settings.raw.exposures)
    check_template(template)
    patterns = {row.target: expand(template, day, tenant=row.tenant, surface=row.surface) for row in settings.targets}
    found: dict[str, tuple[Mapping[str, Any], list[Target]]] = {}
    listed = {prefix: _list(client, bucket, prefix) for prefix in {fixed_part(p) for p in patterns.values()}}
    for target, pattern in patterns.items():
        for entry in listed[fixed_part(pattern)]:
            if takes(pattern, entry["Key"]):
                found.setdefault(entry["Key"], (entry, []))[1].append(target)
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
            raise InputError(f"{uri} is not there: put it there, or name another place") from error
        raise error_for(uri, error) from error
    size, modified = int(head["ContentLength"]), head["LastModified"]
    return RawObject(client, bucket, key, size=size, etag=head["ETag"], modified=modified, targets=())


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
