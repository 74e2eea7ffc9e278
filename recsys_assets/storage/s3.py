"""Objects in a bucket: conditions are the server's, unknown outcomes are read back before they are reported."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from secrets import token_hex
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from recsys_assets.errors import (
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.s3.answers import S3_ERRORS, S3Answer, answer_of, error_for, translate_s3_errors
from recsys_assets.s3.client import list_objects
from recsys_assets.storage.store import (
    Listed,
    StoredObject,
    check_key,
    check_prefix,
    check_root,
    check_s3_prefix,
    is_key,
)

Answer = TypeVar("Answer", bound=StoredObject | None)

_TRIES = 5
_FIRST_PAUSE_SECONDS = 0.05


class _BrokenOffError(StoreUnavailableError):
    """A body that ended before its announced size."""


class S3Store:
    """Objects in a bucket below a prefix, through a boto3 client that is handed in.

    Conditional writes are single `PutObject` requests (never multipart) that the SDK does not repeat by itself: after a
    timeout, a broken connection or a 5xx the object is read back. Our bytes there: the write won. Other bytes: somebody
    else did. The old bytes: the request is sent again, which its condition makes safe.
    """

    def __init__(
        self, client: Any, *, bucket: str, prefix: str = "", public_root: str | None = None, pause: Pause = wait
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{check_s3_prefix(prefix)}/" if prefix else ""
        self._pause = pause
        self._public_root = check_root(public_root) if public_root else None
        self._deletes_conditionally = False
        check_root(self.root_uri)
        for call in ("PutObject", "DeleteObject"):
            event = f"needs-retry.s3.{call}"
            client.meta.events.register(event, _leave_conditions_alone, unique_id=f"recsys-assets-{call}")

    @property
    def root_uri(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The public root, if there is one, and its own."""
        return (self.root_uri,) if self._public_root is None else (self._public_root, self.root_uri)

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object; the body is read only up to `max_bytes`, whatever length the server announces."""
        return self._whole(key, lambda: _read(self._client.get_object(**self._at(key)), key=key, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object unless it still is the one marked `etag`, for one 304."""

        def ask() -> StoredObject | None:
            try:
                return _read(self._client.get_object(**self._at(key), IfNoneMatch=etag), key=key, max_bytes=max_bytes)
            except ClientError as error:
                if answer_of(error) is S3Answer.UNCHANGED:
                    return None
                raise

        return self._whole(key, ask)

    def _whole(self, key: str, ask: Callable[[], Answer]) -> Answer:
        """Return what is read whole, asked for again where a body broke off: the SDK repeats requests, not bodies."""
        broken_off = _BrokenOffError(f"{key}: never tried")
        for _ in self._attempts():
            try:
                with translate_s3_errors(key):
                    return ask()
            except _BrokenOffError as error:
                broken_off = error
        raise broken_off

    def _attempts(self) -> Iterator[int]:
        return attempts(_TRIES, first_seconds=_FIRST_PAUSE_SECONDS, pause=self._pause)

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the object, or None."""
        with translate_s3_errors(key):
            try:
                head = self._client.head_object(**self._at(key))
            except ClientError as error:
                if answer_of(error) is S3Answer.MISSING:
                    return None
                raise
            return Listed(key, int(head["ContentLength"]), head["LastModified"].timestamp())

    def create(self, key: str, data: bytes) -> str:
        """Write a new object (`If-None-Match: *`)."""
        return self._write(key, data, expected=None, IfNoneMatch="*")

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object read as `expected` (`If-Match`)."""
        return self._write(key, data, expected=expected, IfMatch=expected)

    def put(self, key: str, data: bytes) -> str:
        """Write the object whatever was there."""
        with translate_s3_errors(key):
            return str(self._client.put_object(**self._at(key), Body=data)["ETag"])

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects below `prefix`, by key; every page is fetched before the first object is yielded."""
        entries = list_objects(self._client, bucket=self._bucket, prefix=self._prefix + check_prefix(prefix))
        found = [
            Listed(item["Key"][len(self._prefix) :], int(item["Size"]), item["LastModified"].timestamp())
            for item in entries
        ]
        yield from sorted(item for item in found if is_key(item.key))

    def delete(self, key: str) -> None:
        """Remove the object; absent is fine."""
        with translate_s3_errors(key):
            try:
                self._client.delete_object(**self._at(key))
            except ClientError as error:
                if answer_of(error) is not S3Answer.MISSING:  # not every server says 204 to that
                    raise

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object read as `expected` (`If-Match`), once this server has shown that it honours that."""
        self._require_conditional_deletes()
        try:
            self._client.delete_object(**self._at(key), IfMatch=expected)
        except S3_ERRORS as error:
            answer = answer_of(error)
            if answer in {S3Answer.LOST, S3Answer.MISSING, S3Answer.BUSY}:
                raise ConflictError(f"{key} is not what was expected ({expected})") from error
            if answer is S3Answer.SILENT:
                raise OutcomeUnknownError(f"{key}: {error}: it may have been removed; look before all else") from error
            raise error_for(key, error) from error

    def expiring_rules(self) -> tuple[str, ...]:
        """Return the lifecycle rules of the bucket that delete objects below the prefix by age, each by its name."""
        try:
            found = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except S3_ERRORS:
            return ()  # none, or this user may not see them, or the server knows none
        return tuple(
            str(rule.get("ID", "without a name"))
            for rule in found.get("Rules", ())
            if rule.get("Status") == "Enabled" and "Expiration" in rule and _touches(rule, self._prefix)
        )

    def _require_conditional_deletes(self) -> None:
        """Raise `UnsafeStoreError` unless the server refuses to delete an object of its own under a wrong condition."""
        if self._deletes_conditionally:
            return
        key = f"probe/{token_hex(16)}.json"
        self.create(key, b"probe")
        try:
            with translate_s3_errors(key), suppress(ClientError):
                self._client.delete_object(**self._at(key), IfMatch='"0"')
            if self.stat(key) is None:
                raise UnsafeStoreError(
                    f"{self.root_uri}: the server deletes an object whatever the condition (If-Match) says, so a "
                    "change of the pointer meanwhile could be lost: nothing was removed; use a server that honours it"
                )
        finally:
            self.delete(key)
        self._deletes_conditionally = True

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}

    def _write(self, key: str, data: bytes, *, expected: str | None, **condition: str) -> str:
        """Send a conditional write until its outcome is known, a handful of times at most."""
        silent: Exception | None = None
        for _ in self._attempts():
            try:
                return str(self._client.put_object(**self._at(key), Body=data, **condition)["ETag"])
            except S3_ERRORS as error:
                answer = answer_of(error)
                if answer in {S3Answer.DENIED, S3Answer.WRONG, S3Answer.UNSUPPORTED}:
                    raise error_for(key, error) from error
                if answer in {S3Answer.LOST, S3Answer.MISSING} and silent is None:
                    raise ConflictError(f"{key} is not what was expected ({expected or 'absent'})") from error
                silent = error if answer is S3Answer.SILENT else silent
            if answer is not S3Answer.BUSY and (etag := self._read_back(key, data, expected=expected)):
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


def _leave_conditions_alone(request_dict: Mapping[str, Any], **_: Any) -> bool | None:
    """Keep the SDK from repeating a conditional write: if the first was applied, the second would lose against it.

    None leaves the decision about unconditional writes to the SDK.
    """
    headers = {str(name).lower() for name in request_dict["headers"]}
    return False if headers & {"if-match", "if-none-match"} else None


def _touches(rule: Mapping[str, Any], prefix: str) -> bool:
    """Return whether a lifecycle rule applies to objects below a prefix, whatever tags or sizes it asks for besides."""
    conditions = rule.get("Filter") or {}
    under = str(conditions.get("Prefix") or conditions.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
    return under.startswith(prefix) or prefix.startswith(under)


def _read(reply: Mapping[str, Any], *, key: str, max_bytes: int) -> StoredObject:
    size = int(reply["ContentLength"])
    with closing(reply["Body"]) as body:  # read whole, its connection is free again already
        if size > max_bytes:
            raise CorruptObjectError(f"{key} has {size} bytes: at most {max_bytes} are read")
        try:
            data: bytes = body.read(max_bytes + 1)
        except (BotoCoreError, HTTPError) as error:
            raise _BrokenOffError(f"{key}: {error}: the answer broke off; try again") from error
    if len(data) != size:
        raise _BrokenOffError(f"{key}: the answer broke off after {len(data)} of {size} bytes: try again")
    return StoredObject(data, str(reply["ETag"]))
