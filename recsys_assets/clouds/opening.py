"""Opening of buckets by URI: the scheme selects the cloud, whose client is imported only when it is used."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from recsys_assets.clouds.bucket import Bucket
from recsys_assets.errors import ConfigurationError

EXTRAS: Final[Mapping[str, str]] = {"s3": "", "gs": "gcs", "az": "azure"}  # schemes, and the extras with their clients
SCHEMES: Final = ", ".join(f"{scheme}://" for scheme in EXTRAS)  # list for messages
_STARTS: Final = tuple(f"{scheme}://" for scheme in EXTRAS)


def is_in_cloud(path: str) -> bool:
    """Return whether a path is the URI of a bucket, or of an object in one."""
    return path.startswith(_STARTS)


def split_uri(uri: str) -> tuple[str, str, str]:
    """Return the scheme, the bucket and the key of a URI. The key is empty if the URI has none."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return scheme, bucket, key


@contextmanager
def client_imported(uri: str, scheme: str) -> Generator[None]:
    """Raise `ConfigurationError` naming `uri` and the extra to install if a library is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{uri} needs the library {error.name}, which is not installed: "
            f'pip install "recsys-assets[{EXTRAS[scheme]}]"'
        ) from error


def open_bucket(uri: str) -> Bucket:
    """Return the bucket of a URI, with a client configured by the environment.

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
