"""Azure Blob Storage through its SDK: the client of a container, the meaning of its errors, a readable container."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient, LinearRetry

from recsys_assets.clouds.bucket import Bucket, BucketEntry, Cloud, ObjectBody
from recsys_assets.errors import ANSWER_OF_STATUS, Answer, ConfigurationError

CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"  # these variables are named as for Azure's command line
ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT"
KEYS: Final = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN")
_SCOPE: Final = "https://storage.azure.com/.default"
_SERVER_FAULT: Final = 500
_READ_AT_ONCE: Final = 8 << 20
# Pause before each of three repetitions. With the SDK's policy, a server that is down takes 15 s.
_RETRY_SECONDS: Any = 0.5
_BY_CODE: Final = {
    "AccountIsDisabled": Answer.WRONG,
    "BlobAlreadyExists": Answer.LOST,
    "BlobArchived": Answer.COLD,
    "BlobBeingRehydrated": Answer.COLD,
    "BlobNotFound": Answer.MISSING,
    "ContainerBeingDeleted": Answer.WRONG,
    "ContainerNotFound": Answer.WRONG,
}


def answer_of(error: Exception) -> Answer:
    """Return the meaning of an error of the SDK."""
    if isinstance(error, ClientAuthenticationError):
        return Answer.DENIED
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return Answer.SILENT
    if error.status_code >= _SERVER_FAULT:
        return Answer.SILENT
    code = str(getattr(error, "error_code", ""))
    return _BY_CODE.get(code) or ANSWER_OF_STATUS.get(error.status_code, Answer.WRONG)


AZURE: Final = Cloud(
    scheme="az",
    errors=(AzureError,),
    answer_of=answer_of,
    credentials=f"{CONNECTION}, or {ACCOUNT} with {' or '.join(KEYS)}, or the chain of DefaultAzureCredential",
    address=f"container and {ACCOUNT}",
)


def open_container(name: str) -> ContainerClient:
    """Return a new client of a container, with the environment's connection string, account and key, or identity.

    Raises `ConfigurationError` if the account is not set, or the settings are invalid.
    """
    options: dict[str, Any] = {
        "connection_timeout": 5,
        "read_timeout": 30,
        "retry_policy": LinearRetry(backoff=_RETRY_SECONDS, retry_total=3, random_jitter_range=0),
        "max_single_get_size": _READ_AT_ONCE,
        "max_chunk_get_size": _READ_AT_ONCE,
    }
    text = os.environ.get(CONNECTION)
    try:
        if text:
            return BlobServiceClient.from_connection_string(text, **options).get_container_client(name)
        account = os.environ.get(ACCOUNT)
        if not account:
            raise ConfigurationError(
                f"az://{name}: the account of the container is not set: set {ACCOUNT}, or {CONNECTION}"
            )
        address = account if "://" in account else f"https://{account}.blob.core.windows.net"
        return BlobServiceClient(address, credential=_credential(), **options).get_container_client(name)
    except ValueError:  # its text may repeat the key
        raise ConfigurationError(
            f"az://{name}: {CONNECTION} or {ACCOUNT} is invalid: copy it from Azure's portal"
        ) from None


def _credential() -> Any:
    for variable in KEYS:
        if os.environ.get(variable):
            return os.environ[variable]
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - only where nothing simpler is set

    logging.getLogger("azure.identity").setLevel(logging.ERROR)  # it warns of what the error then repeats
    return DefaultAzureCredential()


def make_container(name: str) -> ContainerClient:
    """Return the client of a container for this process and environment. All readers share it.

    Raises as `open_container`.
    """
    variables = tuple(sorted((name, os.environ.get(name, "")) for name in (CONNECTION, ACCOUNT, *KEYS)))
    return _container(os.getpid(), name, variables)


@lru_cache(maxsize=8)
def _container(_process: int, name: str, _variables: tuple[tuple[str, str], ...]) -> ContainerClient:
    return open_container(name)


def table_options(name: str) -> dict[str, str]:
    """Return options of the library `object_store`, by which it opens a container as `open_container` does.

    Raises as `open_container`, and the SDK's errors if an identity is not accepted.
    """
    with closing(open_container(name)) as container:
        address = urlsplit(container.url)
        options = {
            "azure_storage_account_name": str(container.account_name),
            "azure_endpoint": f"{address.scheme}://{address.netloc}{address.path.removesuffix(f'/{name}')}",
            "azure_allow_http": str(address.scheme == "http").lower(),
        }
        credential = container.credential
        if address.query:
            return {**options, "azure_storage_sas_key": address.query}
        if hasattr(credential, "account_key"):
            return {**options, "azure_storage_account_key": str(credential.account_key)}
        return {**options, "azure_storage_token": str(credential.get_token(_SCOPE).token)}


class AzureBucket(Bucket):
    """A container of Azure. The mark of an object is its etag."""

    cloud = AZURE

    def __init__(self, container: ContainerClient) -> None:
        super().__init__(str(container.container_name))
        self._container = container

    def ask(self, key: str, *, mark: str, start: int, end: int) -> ObjectBody:
        """Return the bytes from `start` to `end` under `If-Match`."""
        part: dict[str, Any] = {"offset": start, "length": end - start} if end else {}
        download = self._container.download_blob(
            key,
            etag=f'"{mark}"',
            match_condition=MatchConditions.IfNotModified,
            max_concurrency=1,
            decompress=False,  # bytes as stored: the SDK would unpack each part of a gzip file on its own
            **part,
        )
        return _Download(download)

    def _entries(self, prefix: str) -> Iterator[BucketEntry]:
        # Accounts with a hierarchical namespace also list folders, marked only by this metadata.
        for item in self._container.list_blobs(name_starts_with=prefix, include=["metadata"]):
            if (item.metadata or {}).get("hdi_isfolder") != "true":
                yield _entry(item.name, item)

    def _below(self, prefix: str) -> list[str]:
        pages = self._container.walk_blobs(name_starts_with=prefix, delimiter="/").by_page()
        return [item.name for item in next(pages, ())]

    def _head(self, key: str) -> BucketEntry:
        return _entry(key, self._container.get_blob_client(key).get_blob_properties())


class _Download:
    """The `ObjectBody` of a download of the SDK, which reads some megabytes at a time."""

    def __init__(self, download: Any) -> None:
        self._download = download

    def readinto(self, buffer: Any, /) -> int:
        data = self._download.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Do nothing: the SDK reads each response to its end."""


def _entry(key: str, item: Any) -> BucketEntry:
    return BucketEntry(key, int(item.size), str(item.etag).strip('"'), item.last_modified)
