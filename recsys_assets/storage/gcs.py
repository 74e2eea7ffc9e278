"""Objects in a bucket of Google Cloud Storage, by its JSON API: the generation of an object is its mark."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import google.auth
import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport.requests import AuthorizedSession
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from recsys_assets.errors import ANSWER_OF_STATUS, Answer
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.bucket import BucketStore, Condition, read_body
from recsys_assets.storage.store import AT_ONCE, Listed, StoredObject

EMULATOR: Final = "STORAGE_EMULATOR_HOST"  # as Google's own clients have it
_ADDRESS: Final = "https://storage.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_TIMEOUT: Any = (5, 30)  # seconds to connect, and to wait for bytes
_SERVER_FAULT = 500
# Of writes, 429 is busy: an object takes one a second for long, and this one was not applied.
_BY_STATUS: Final = {**ANSWER_OF_STATUS, 429: Answer.BUSY}


class GcsRefusedError(Exception):
    """An answer that is no success: its status and the server's words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class GcsStore(BucketStore):
    """Objects in a bucket of Google Cloud Storage.

    Conditions are `ifGenerationMatch`, which a generation never fools: it is new with every write, also of equal bytes.
    Credentials are found as Google's tools find them (application default credentials).
    """

    scheme = "gs"
    errors = (GcsRefusedError, requests.RequestException, GoogleAuthError)
    credentials = "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's account"
    address = "the bucket"
    pauses = (0.3, 3.0)  # seconds: an object takes about one write a second

    def __init__(self, *, bucket: str, prefix: str = "", public_root: str | None = None, pause: Pause = wait) -> None:
        super().__init__(bucket=bucket, prefix=prefix, public_root=public_root, pause=pause)
        emulator = os.environ.get(EMULATOR)
        if emulator:
            self._base = emulator if "://" in emulator else f"http://{emulator}"
            credentials: Any = AnonymousCredentials()
        else:
            self._base = _ADDRESS
            try:
                credentials, _ = google.auth.default(scopes=[_SCOPE])
            except GoogleAuthError as error:
                raise self._error(self.root_uri, error) from error
        repeated = Retry(3, backoff_factor=0.2, status_forcelist=[408, 429, 500, 502, 503, 504], allowed_methods=None)
        repeated.raise_on_status = False
        self._steady = _session(credentials, repeated)
        self._once = _session(credentials, Retry(0))

    def _fetch(self, name: str, *, max_bytes: int, unless: str | None = None) -> StoredObject:
        asked = {"alt": "media"}
        if unless is not None and unless.isdecimal():
            asked["ifGenerationNotMatch"] = unless
        reply = self._ask(self._steady, "GET", self._object(name), params=asked, stream=True)
        with closing(reply):
            size = int(reply.headers.get("Content-Length") or reply.headers["X-Goog-Stored-Content-Length"])
            data = read_body(reply.raw.read, size, key=name, max_bytes=max_bytes, broken=(HTTPError, OSError))
            return StoredObject(data, reply.headers["X-Goog-Generation"])

    def _head(self, name: str) -> Listed:
        reply = self._ask(self._steady, "GET", self._object(name), params={"fields": "name,size,updated"})
        return _listed(reply.json())

    def _send(self, name: str, data: bytes, condition: Condition | None) -> str:
        asked = {"uploadType": "media", "name": name, "fields": "generation"} | _matching(condition)
        session = self._steady if condition is None else self._once
        headers = {"Content-Type": "application/octet-stream"}
        path = f"/upload/storage/v1/b/{quote(self._bucket, safe='')}/o"
        return str(self._ask(session, "POST", path, params=asked, data=data, headers=headers).json()["generation"])

    def _remove(self, name: str, condition: Condition | None) -> None:
        session = self._steady if condition is None else self._once
        self._ask(session, "DELETE", self._object(name), params=_matching(condition))

    def _entries(self, prefix: str) -> Iterator[Listed]:
        asked = {"prefix": prefix, "fields": "items(name,size,updated),nextPageToken"}
        while True:
            page = self._ask(self._steady, "GET", self._object(""), params=asked).json()
            yield from map(_listed, page.get("items", ()))
            if "nextPageToken" not in page:
                return
            asked["pageToken"] = page["nextPageToken"]

    def _answer(self, error: Exception) -> Answer:
        if isinstance(error, GcsRefusedError):
            if error.status >= _SERVER_FAULT:
                return Answer.SILENT
            if error.status == 404 and "bucket does not exist" in str(error):  # noqa: PLR2004 - not found
                return Answer.WRONG
            return _BY_STATUS.get(error.status, Answer.WRONG)
        if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
            return Answer.DENIED
        return Answer.SILENT

    def _object(self, name: str) -> str:
        return f"/storage/v1/b/{quote(self._bucket, safe='')}/o" + (f"/{quote(name, safe='')}" if name else "")

    def _ask(self, session: AuthorizedSession, method: str, path: str, **more: Any) -> requests.Response:
        reply: requests.Response = session.request(method, self._base + path, timeout=_TIMEOUT, **more)
        if reply.ok and reply.status_code != 304:  # noqa: PLR2004 - not modified
            return reply
        with closing(reply):
            raise GcsRefusedError(reply.status_code, reply.text)


def _session(credentials: Any, retries: Retry) -> AuthorizedSession:
    session = AuthorizedSession(credentials)
    adapter = HTTPAdapter(max_retries=retries, pool_maxsize=AT_ONCE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["Accept-Encoding"] = "identity"  # bytes as they are stored
    return session


def _matching(condition: Condition | None) -> dict[str, str]:
    """Return the parameter of a condition; a mark that no generation is belongs to no object of this store."""
    if condition is None:
        return {}
    if condition.etag is not None and not condition.etag.isdecimal():
        raise GcsRefusedError(412, f"{condition.etag!r} is no generation")
    return {"ifGenerationMatch": condition.etag or "0"}


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(item["name"], int(item["size"]), datetime.fromisoformat(item["updated"]).timestamp())
