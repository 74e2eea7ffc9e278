"""The client through which buckets are reached when nobody hands one in, and listings that are whole or an error."""

import os
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.s3.answers import translate_s3_errors

_CONNECTIONS: Final = 50  # kept for the next request: of several targets at once, each asks for several objects
_making = threading.Lock()  # boto3's own session may not be used by two threads at once; its clients may


def make_client() -> Any:
    """Return boto3's S3 client (made at run time, so without a static type), set by its environment variables.

    Raises `ConfigurationError` for an address with a password in it.

    Making one takes a tenth of a second: all who ask in this process and under the same variables share it.
    """
    variables = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    for name, value in variables:
        if name.startswith("AWS_ENDPOINT_URL") and "@" in value:
            raise ConfigurationError(
                f"{name} holds a user or a password, which every error about it would show: name host and port alone, "
                "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
    with _making:
        return _client(os.getpid(), variables)


@lru_cache(maxsize=4)
def _client(_process: int, _variables: tuple[tuple[str, str], ...]) -> Any:
    import boto3  # noqa: PLC0415 - a folder as store need not pay for it
    from botocore.config import Config  # noqa: PLC0415

    retries: Any = {"mode": "standard", "max_attempts": 4}
    config = Config(connect_timeout=5, read_timeout=30, retries=retries, max_pool_connections=_CONNECTIONS)
    # A session of its own: the common one keeps the credentials that it found first.
    return boto3.session.Session().client("s3", config=config)


def list_objects(client: Any, *, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    """Yield the entries (`Key`, `Size`, `ETag`, `LastModified`) of all objects whose keys begin with `prefix`.

    Raises `StoreUnavailableError` if a page is missing, `ConfigurationError` for a wrong bucket or missing rights.
    """
    more: dict[str, str] = {}
    with translate_s3_errors(f"s3://{bucket}/{prefix}"):
        while True:
            page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            more = _next_page(page, prefix, before=more)


def _next_page(page: Mapping[str, Any], prefix: str, *, before: Mapping[str, str]) -> dict[str, str]:
    token = {"ContinuationToken": str(page.get("NextContinuationToken", ""))}
    if token in ({"ContinuationToken": ""}, before):
        raise StoreUnavailableError(f"{prefix}: the listing says that it is cut and not how to go on: try again")
    return token
