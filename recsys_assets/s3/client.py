"""The client through which buckets are reached when nobody hands one in."""

from typing import Any


def make_client() -> Any:
    """Return boto3's S3 client (made at run time, so without a static type), set by its environment variables."""
    import boto3  # noqa: PLC0415 - a folder as store need not pay for it
    from botocore.config import Config  # noqa: PLC0415

    retries: Any = {"mode": "standard", "max_attempts": 4}
    return boto3.client("s3", config=Config(connect_timeout=5, read_timeout=30, retries=retries))
