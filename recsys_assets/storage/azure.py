"""Objects in a container of Azure Blob Storage, through its SDK: conditions are `If-Match` and `If-None-Match`."""

from collections.abc import Iterator
from typing import Any, Final

from azure.core import MatchConditions
from azure.storage.blob import ContainerClient

from recsys_assets.clouds.azure import AZURE
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.bucket import BucketStore, Condition, read_body
from recsys_assets.storage.store import Listed, StoredObject

_ONE_REQUEST: Final[dict[str, Any]] = {"retry_total": 0}  # the SDK would repeat a write, and lose against its own first


class AzureStore(BucketStore):
    """Objects in a container, through a client of it that is handed in."""

    cloud = AZURE

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


def _matching(condition: Condition) -> dict[str, Any]:
    if condition.etag is None:
        return {}  # that there is none, `overwrite` says
    return {"etag": condition.etag, "match_condition": MatchConditions.IfNotModified}
