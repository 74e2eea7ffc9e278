"""Store in a bucket of Google Cloud Storage, by its JSON API: the generation of an object is its etag."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from urllib3.exceptions import HTTPError

from recsys_assets.clouds.gcs import GCS, GcsClient, GcsRefusedError, object_path
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.bucket import BucketStore, Condition, read_body
from recsys_assets.storage.store import Listed, StoredObject


class GcsStore(BucketStore):
    """Objects in a bucket of Google Cloud Storage.

    Conditions are `ifGenerationMatch`: every write makes a new generation, even of equal bytes.
    """

    cloud = GCS
    pauses = (0.3, 3.0)  # seconds: Google accepts about one write a second of one object

    def __init__(self, *, bucket: str, prefix: str = "", public_root: str | None = None, pause: Pause = wait) -> None:
        super().__init__(bucket=bucket, prefix=prefix, public_root=public_root, pause=pause)
        self._client = GcsClient(self.root_uri)

    def _fetch(self, name: str, *, max_bytes: int, unless: str | None = None) -> StoredObject:
        params = {"alt": "media"}
        if unless is not None and unless.isdecimal():
            params["ifGenerationNotMatch"] = unless
        reply = self._client.ask("GET", self._path(name), params=params, stream=True)
        with closing(reply):
            size = int(reply.headers.get("Content-Length") or reply.headers["X-Goog-Stored-Content-Length"])
            data = read_body(reply.raw.read, size, key=name, max_bytes=max_bytes, broken=(HTTPError, OSError))
            return StoredObject(data, reply.headers["X-Goog-Generation"])

    def _head(self, name: str) -> Listed:
        reply = self._client.ask("GET", self._path(name), params={"fields": "name,size,updated"})
        return _listed(reply.json())

    def _send(self, name: str, data: bytes, condition: Condition | None) -> str:
        params = {"uploadType": "media", "name": name, "fields": "generation"} | _matching(condition)
        headers = {"Content-Type": "application/octet-stream"}
        path = object_path(self._bucket, upload=True)
        once = condition is not None
        reply = self._client.ask("POST", path, once=once, params=params, data=data, headers=headers)
        return str(reply.json()["generation"])

    def _remove(self, name: str, condition: Condition | None) -> None:
        self._client.ask("DELETE", self._path(name), once=condition is not None, params=_matching(condition))

    def _entries(self, prefix: str) -> Iterator[Listed]:
        for page in self._client.pages(self._bucket, prefix=prefix, fields="items(name,size,updated),nextPageToken"):
            yield from map(_listed, page.get("items", ()))

    def _path(self, name: str) -> str:
        return object_path(self._bucket, name)


def _matching(condition: Condition | None) -> dict[str, str]:
    """Return the request parameter of a condition. An etag that is not a generation matches no object of this store."""
    if condition is None:
        return {}
    if condition.etag is not None and not condition.etag.isdecimal():
        raise GcsRefusedError(412, f"{condition.etag!r} is not a generation")
    return {"ifGenerationMatch": condition.etag or "0"}


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(item["name"], int(item["size"]), datetime.fromisoformat(item["updated"]).timestamp())
