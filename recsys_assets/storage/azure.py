"""Objects in a container of Azure Blob Storage, through its SDK: conditions are `If-Match` and `If-None-Match`."""

import os
from collections.abc import Iterator
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient, ExponentialRetry

from recsys_assets.errors import ANSWER_OF_STATUS, Answer, ConfigurationError
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.bucket import BucketStore, Condition, read_body
from recsys_assets.storage.store import Listed, StoredObject

CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"  # as Azure's command has these
ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT"
KEYS: Final = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN")
_SERVER_FAULT = 500
_ONE_REQUEST: Final[dict[str, Any]] = {"retry_total": 0}  # the SDK would repeat a write, and lose against its own first
_READ_AT_ONCE: Final = 8 << 20
_PAUSE: Any = 0.3  # seconds before a read is repeated; the SDK would wait 15
_BY_CODE: Final = {
    "AccountIsDisabled": Answer.WRONG,
    "BlobAlreadyExists": Answer.LOST,
    "BlobArchived": Answer.COLD,
    "BlobBeingRehydrated": Answer.COLD,
    "BlobNotFound": Answer.MISSING,
    "ContainerBeingDeleted": Answer.WRONG,
    "ContainerNotFound": Answer.WRONG,
}


class AzureStore(BucketStore):
    """Objects in a container, through a client of it that is handed in."""

    scheme = "az"
    errors = (AzureError,)
    credentials = f"{CONNECTION}, or {ACCOUNT} with {' or '.join(KEYS)}, or the chain of DefaultAzureCredential"
    address = f"container and {ACCOUNT}"

    def __init__(
        self,
        container: ContainerClient,
        *,
        prefix: str = "",
        public_root: str | None = None,
        pause: Pause = wait,
    ) -> None:
        super().__init__(bucket=container.container_name, prefix=prefix, public_root=public_root, pause=pause)
        self._container = container

    def _fetch(self, name: str, *, max_bytes: int, unless: str | None = None) -> StoredObject:
        asked: dict[str, Any] = {}
        if unless is not None:
            asked = {"etag": unless, "match_condition": MatchConditions.IfModified}
        found = self._container.download_blob(name, max_concurrency=1, **asked)
        data = read_body(found.read, int(found.size), key=name, max_bytes=max_bytes, broken=())
        return StoredObject(data, str(found.properties.etag))

    def _head(self, name: str) -> Listed:
        found = self._container.get_blob_client(name).get_blob_properties()
        return Listed(name, found.size, found.last_modified.timestamp())

    def _send(self, name: str, data: bytes, condition: Condition | None) -> str:
        asked: dict[str, Any] = {"overwrite": True}
        if condition is not None:
            asked = {"overwrite": condition.etag is not None, **_matching(condition), **_ONE_REQUEST}
        done = self._container.get_blob_client(name).upload_blob(data, length=len(data), **asked)
        return str(done["etag"])

    def _remove(self, name: str, condition: Condition | None) -> None:
        asked = {} if condition is None else {**_matching(condition), **_ONE_REQUEST}
        self._container.delete_blob(name, **asked)

    def _entries(self, prefix: str) -> Iterator[Listed]:
        for item in self._container.list_blobs(name_starts_with=prefix):
            yield Listed(item.name, item.size, item.last_modified.timestamp())

    def _answer(self, error: Exception) -> Answer:
        if isinstance(error, ClientAuthenticationError):
            return Answer.DENIED
        if not isinstance(error, HttpResponseError) or error.status_code is None:
            return Answer.SILENT
        if error.status_code >= _SERVER_FAULT:
            return Answer.SILENT
        code = str(getattr(error, "error_code", ""))
        return _BY_CODE.get(code) or ANSWER_OF_STATUS.get(error.status_code, Answer.WRONG)


def open_container(name: str) -> ContainerClient:
    """Return the client of a container, by the environment's connection string, account and key, or identity."""
    options: dict[str, Any] = {
        "connection_timeout": 5,
        "read_timeout": 30,
        "retry_policy": ExponentialRetry(
            retry_total=3, initial_backoff=_PAUSE, increment_base=2, random_jitter_range=0
        ),
        "max_single_get_size": _READ_AT_ONCE,
        "max_chunk_get_size": _READ_AT_ONCE,
    }
    text = os.environ.get(CONNECTION)
    try:
        if text:
            return BlobServiceClient.from_connection_string(text, **options).get_container_client(name)
        account = os.environ.get(ACCOUNT)
        if not account:
            raise ConfigurationError(f"az://{name}: whose container? Set {ACCOUNT}, or {CONNECTION}")
        address = account if "://" in account else f"https://{account}.blob.core.windows.net"
        return BlobServiceClient(address, credential=_credential(), **options).get_container_client(name)
    except ValueError:  # its text may repeat the key
        raise ConfigurationError(f"az://{name}: {CONNECTION} or {ACCOUNT} cannot be read: see Azure's portal") from None


def _credential() -> Any:
    for variable in KEYS:
        if os.environ.get(variable):
            return os.environ[variable]
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - only where nothing simpler is set

    return DefaultAzureCredential()


def _matching(condition: Condition) -> dict[str, Any]:
    if condition.etag is None:
        return {}  # that there is none, `overwrite` says
    return {"etag": condition.etag, "match_condition": MatchConditions.IfNotModified}
