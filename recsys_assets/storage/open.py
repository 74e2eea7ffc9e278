"""Opening of a store by its root: a folder, or a bucket of S3, Google Cloud Storage or Azure."""

from collections.abc import Callable
from typing import Any

from recsys_assets.clouds.bucket import SCHEMES, client_imported, is_in_cloud, split_uri
from recsys_assets.errors import ConfigurationError
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.proof import require_begun
from recsys_assets.storage.store import ObjectStore, check_bucket_prefix


def open_store(
    root: str,
    *,
    s3_client: Callable[[], Any] | None = None,
    must_exist: bool = False,
    public_root: str | None = None,
) -> ObjectStore:
    """Return the store below `root`. Nothing is read or written yet, except with `must_exist`.

    `root` is a folder (`/path`, `path` or `file:///path`), or `s3://bucket/prefix`, `gs://bucket/prefix` or
    `az://container/prefix`. Credentials are found as the tools of each cloud find them. `s3_client` returns the boto3
    client (default: boto3's own, configured by its environment variables; AWS_ENDPOINT_URL for other servers).
    `public_root` is the root as services see it, if it differs: a mount, or the alias of a bucket. Raises
    `ConfigurationError` for any other scheme, and, with `must_exist`, if no store was initialized there: a missing
    mount leaves an empty folder, which would otherwise be taken for a new store.
    """
    public = f"file://{public_root}" if public_root and public_root.startswith("/") else public_root
    store = _open(root, s3_client, public.rstrip("/") if public else None)
    if must_exist:
        require_begun(store)
    return store


def _open(root: str, s3_client: Callable[[], Any] | None, public_root: str | None) -> ObjectStore:
    if is_in_cloud(root):
        return _open_bucket(root, s3_client, public_root)
    folder = root.removeprefix("file://") if root.startswith("file:///") else root
    if "://" in folder or not folder.strip("/"):
        raise ConfigurationError(f"storage root {root!r}: expected a folder below /, or {SCHEMES} and a bucket")
    return FilesystemStore(folder, public_root=public_root)


def _open_bucket(root: str, s3_client: Callable[[], Any] | None, public_root: str | None) -> ObjectStore:
    """Return the store of a cloud. Its client is imported only here, so that others need not install or import it."""
    scheme, bucket, prefix = split_uri(root.rstrip("/"))
    if not bucket:
        raise ConfigurationError(f"storage root {root!r} has no bucket: expected {scheme}://bucket/prefix")
    if prefix:
        check_bucket_prefix(prefix)
    with client_imported(f"storage root {root!r}", scheme):
        if scheme == "gs":
            from recsys_assets.storage.gcs import GcsStore  # noqa: PLC0415

            return GcsStore(bucket=bucket, prefix=prefix, public_root=public_root)
        if scheme == "az":
            from recsys_assets.clouds.azure import open_container  # noqa: PLC0415
            from recsys_assets.storage.azure import AzureStore  # noqa: PLC0415

            return AzureStore(open_container(bucket), prefix=prefix, public_root=public_root)
    from recsys_assets.clouds.s3 import make_client  # noqa: PLC0415
    from recsys_assets.storage.s3 import S3Store  # noqa: PLC0415

    return S3Store((s3_client or make_client)(), bucket=bucket, prefix=prefix, public_root=public_root)
