"""The file systems behind paths and URIs, for this process and for Spark's executors alike: it needs only pyarrow."""

import os
from typing import Any

from pyarrow import fs


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return the file system of a path, a file:// or an s3:// URI, and the path in it.

    Buckets are reached as the environment of the process that asks says (AWS_ENDPOINT_URL, AWS_REGION, credentials
    by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by a profile or the machine's role): no secret is handed on.
    """
    if not uri.startswith("s3://"):
        return fs.LocalFileSystem(), uri.removeprefix("file://")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    scheme, _, host = endpoint.rpartition("://")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    return fs.S3FileSystem(region=region, **options), uri.removeprefix("s3://")
