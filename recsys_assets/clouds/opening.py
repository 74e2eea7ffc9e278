"""Places that are URIs: which cloud they lead to, and its client, imported only where it is asked."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from recsys_assets.clouds.bucket import Bucket
from recsys_assets.errors import ConfigurationError

EXTRAS: Final[Mapping[str, str]] = {"s3": "", "gs": "gcs", "az": "azure"}  # schemes, and what brings their clients
SCHEMES: Final = ", ".join(f"{scheme}://" for scheme in EXTRAS)  # for people
_STARTS: Final = tuple(f"{scheme}://" for scheme in EXTRAS)


def is_in_cloud(place: str) -> bool:
    """Return whether a place is the URI of a bucket, or of something in one."""
    return place.startswith(_STARTS)


def split_uri(uri: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket and the key of a URI; the key is empty where it names none."""
    scheme, _, place = uri.partition("://")
    bucket, _, key = place.partition("/")
    return scheme, bucket, key


@contextmanager
def client_imported(place: str, scheme: str) -> Generator[None]:
    """Turn a library that is not installed into a `ConfigurationError` that names `place` and what brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{place} needs the library {error.name}, which is not installed: "
            f'pip install "recsys-assets[{EXTRAS[scheme]}]"'
        ) from error


def open_bucket(uri: str) -> Bucket:
    """Return the bucket that a URI leads to, through the client that its environment describes.

    Raises `ConfigurationError` if the client is not installed or finds no credentials.
    """
    scheme, bucket, _ = split_uri(uri)
    with client_imported(uri, scheme):
        return _OPENERS[scheme](bucket)


def _open_s3(bucket: str) -> Bucket:
    from recsys_assets.clouds.s3 import S3Bucket, make_client  # noqa: PLC0415

    return S3Bucket(make_client(), bucket)


def _open_gcs(bucket: str) -> Bucket:
    from recsys_assets.clouds.gcs import GcsBucket, make_client  # noqa: PLC0415

    return GcsBucket(make_client(), bucket)


def _open_azure(bucket: str) -> Bucket:
    from recsys_assets.clouds.azure import AzureBucket, make_container  # noqa: PLC0415

    return AzureBucket(make_container(bucket))


_OPENERS: Final[Mapping[str, Callable[[str], Bucket]]] = {"s3": _open_s3, "gs": _open_gcs, "az": _open_azure}
