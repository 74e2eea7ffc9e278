"""S3 and compatible servers: the shared client, the meaning of its errors, complete listings, and a readable bucket."""

import os
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as ConnectionFailedError
from urllib3.exceptions import HTTPError

from recsys_assets.clouds.bucket import Bucket, BucketEntry, Cloud, ObjectBody
from recsys_assets.errors import ANSWER_OF_STATUS, Answer, ConfigurationError, StoreUnavailableError

_DENIED: Final = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_SILENT: Final = (HTTPClientError, ConnectionFailedError, IncompleteReadError, HTTPError)
_NOT_IMPLEMENTED: Final = 501
_SILENT_STATUS: Final = 500  # this and higher statuses
_BY_CODE: Final = {
    "InvalidObjectState": Answer.COLD,
    "NoSuchBucket": Answer.WRONG,
    "NoSuchKey": Answer.MISSING,
    "PreconditionFailed": Answer.LOST,
    "RequestTimeout": Answer.SILENT,
    "SlowDown": Answer.SILENT,
}
_CONNECTIONS: Final = 50  # kept open for reuse: several targets at once read several objects each
_making = threading.Lock()  # Boto3's sessions are not thread-safe. Its clients are.


def answer_of(error: Exception) -> Answer:
    """Return the meaning of an error of boto3."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status == _NOT_IMPLEMENTED:
            return Answer.UNSUPPORTED
        if status >= _SILENT_STATUS:
            return Answer.SILENT
        code = str(error.response.get("Error", {}).get("Code", ""))
        return _BY_CODE.get(code) or ANSWER_OF_STATUS.get(status, Answer.WRONG)
    if isinstance(error, _DENIED):
        return Answer.DENIED
    return Answer.SILENT if isinstance(error, _SILENT) else Answer.WRONG


S3: Final = Cloud(
    scheme="s3",
    errors=(ClientError, BotoCoreError, HTTPError),  # the last: from a body whose connection breaks while it is read
    answer_of=answer_of,
    credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the machine's role",
    address="bucket, region and AWS_ENDPOINT_URL",
)


def make_client() -> Any:
    """Return boto3's S3 client (generated at run time, so without a static type), configured by its variables.

    Creating a client takes a tenth of a second, so that it is shared in a process with the same variables.

    Raises `ConfigurationError` for an endpoint with a password in it.
    """
    variables = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    for name, value in variables:
        if name.startswith("AWS_ENDPOINT_URL") and "@" in value:
            raise ConfigurationError(
                f"{name} holds a user or a password, which every error about it would show: set only host and port, "
                "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
    with _making:
        return _client(os.getpid(), variables)


@lru_cache(maxsize=4)
def _client(_process: int, _variables: tuple[tuple[str, str], ...]) -> Any:
    import boto3  # noqa: PLC0415 - a store in a folder does not need it
    from botocore.config import Config  # noqa: PLC0415

    retries: Any = {"mode": "standard", "max_attempts": 4}
    config = Config(connect_timeout=5, read_timeout=30, retries=retries, max_pool_connections=_CONNECTIONS)
    # A new session: the default session keeps the credentials that it found first.
    return boto3.session.Session().client("s3", config=config)


class S3Bucket(Bucket):
    """A bucket of S3, read through the given boto3 client. The mark of an object is its etag."""

    cloud = S3

    def __init__(self, client: Any, name: str) -> None:
        super().__init__(name)
        self._client = client

    def ask(self, key: str, *, mark: str, start: int, end: int) -> ObjectBody:
        """Return the bytes from `start` to `end` under `If-Match`."""
        # No server accepts an empty range.
        part = {"Range": f"bytes={start}-{end - 1}"} if end else {}
        return self._client.get_object(Bucket=self.name, Key=key, IfMatch=f'"{mark}"', **part)["Body"]

    def _entries(self, prefix: str) -> Iterator[BucketEntry]:
        for item in list_objects(self._client, bucket=self.name, prefix=prefix):
            yield _entry(item["Key"], item["Size"], item)

    def _below(self, prefix: str) -> list[str]:
        page = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix, Delimiter="/")
        names = [entry["Key"] for entry in page.get("Contents", ())]
        return names + [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]

    def _head(self, key: str) -> BucketEntry:
        head = self._client.head_object(Bucket=self.name, Key=key)
        return _entry(key, head["ContentLength"], head)


def list_objects(client: Any, *, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    """Yield the entries (`Key`, `Size`, `ETag`, `LastModified`) of all objects whose keys begin with `prefix`.

    Raises `StoreUnavailableError` if a page is missing, and the errors of boto3.
    """
    more: dict[str, str] = {}
    while True:
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        more = _next_page(page, prefix, before=more)


def _next_page(page: Mapping[str, Any], prefix: str, *, before: Mapping[str, str]) -> dict[str, str]:
    token = {"ContinuationToken": str(page.get("NextContinuationToken", ""))}
    if token in ({"ContinuationToken": ""}, before):
        raise StoreUnavailableError(f"{prefix}: the listing is truncated without a token of the next page: try again")
    return token


def _entry(key: str, size: int, item: Mapping[str, Any]) -> BucketEntry:
    return BucketEntry(key, int(size), item["ETag"].strip('"'), item["LastModified"])
