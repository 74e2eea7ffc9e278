"""Google Cloud Storage through its JSON API: a client, the meaning of its errors, and a readable bucket."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from datetime import datetime
from functools import lru_cache
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

from recsys_assets.clouds.bucket import Bucket, BucketEntry, Cloud, ObjectBody
from recsys_assets.errors import ANSWER_OF_STATUS, Answer

EMULATOR: Final = "STORAGE_EMULATOR_HOST"  # the name that Google's own clients use
CREDENTIALS: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_ADDRESS: Final = "https://storage.googleapis.com"
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
_TIMEOUT_SECONDS: Any = (5, 30)  # timeouts to connect, and to wait for bytes
_CONNECTIONS: Final = 50  # the same number as for S3
_SERVER_FAULT: Final = 500
# For writes, 429 means busy: an object accepts about one write per second, and this write was not applied.
_BY_STATUS: Final = {**ANSWER_OF_STATUS, 429: Answer.BUSY}


class GcsRefusedError(Exception):
    """A response that is not a success, with its status and the server's message, or the beginning of its text."""

    def __init__(self, status: int, text: str) -> None:
        with suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text)["error"]["message"])
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


def answer_of(error: Exception) -> Answer:
    """Return the meaning of an error of a request."""
    if isinstance(error, GcsRefusedError):
        if error.status >= _SERVER_FAULT:
            return Answer.SILENT
        if error.status == 404 and "bucket does not exist" in str(error):  # noqa: PLR2004 - not found
            return Answer.WRONG
        return _BY_STATUS.get(error.status, Answer.WRONG)
    if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
        return Answer.DENIED
    return Answer.SILENT


GCS: Final = Cloud(
    scheme="gs",
    errors=(GcsRefusedError, requests.RequestException, GoogleAuthError, HTTPError),  # the last: while a body is read
    answer_of=answer_of,
    credentials=f"{CREDENTIALS}, `gcloud auth application-default login`, or the machine's account",
    address="the bucket",
)


class GcsClient:
    """Client of the JSON API, which repeats failed requests unless `once` is set, as for conditional writes.

    Credentials are found as Google's tools find them (application default credentials). Raises `ConfigurationError`
    naming `uri` if there are none.
    """

    def __init__(self, uri: str) -> None:
        emulator = _emulator()
        if emulator:
            self._base = emulator
            credentials: Any = AnonymousCredentials()
        else:
            self._base = _ADDRESS
            with GCS.translated(uri):
                credentials, _ = google.auth.default(scopes=[_SCOPE])
        repeated = Retry(3, backoff_factor=0.2, status_forcelist=[408, 429, 500, 502, 503, 504], allowed_methods=None)
        repeated.raise_on_status = False
        self._repeating = _session(credentials, repeated)
        self._once = _session(credentials, Retry(0))

    def ask(self, method: str, path: str, *, once: bool = False, **more: Any) -> requests.Response:
        """Send a request, never repeated if `once`. Returns a successful response, else raises `GcsRefusedError`."""
        session = self._once if once else self._repeating
        reply: requests.Response = session.request(method, self._base + path, timeout=_TIMEOUT_SECONDS, **more)
        if reply.ok and reply.status_code != 304:  # noqa: PLR2004 - not modified
            return reply
        with closing(reply):
            raise GcsRefusedError(reply.status_code, reply.text)

    def pages(self, bucket: str, **params: str) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing."""
        while True:
            page = self.ask("GET", object_path(bucket), params=params).json()
            yield page
            if "nextPageToken" not in page:
                return
            params["pageToken"] = page["nextPageToken"]


def table_options() -> dict[str, str]:
    """Return options of the library `object_store`, which finds Google's credentials itself, for an emulator."""
    emulator = _emulator()
    return (
        {} if emulator is None else {"google_base_url": emulator, "google_skip_signature": "true", "allow_http": "true"}
    )


def _emulator() -> str | None:
    """Return the address of the emulator that the environment names, if any."""
    host = os.environ.get(EMULATOR)
    return host if not host or "://" in host else f"http://{host}"


def object_path(bucket: str, name: str = "", *, upload: bool = False) -> str:
    """Return the API path of an object, or of all objects of a bucket if `name` is empty."""
    start = "/upload" if upload else ""
    return f"{start}/storage/v1/b/{quote(bucket, safe='')}/o" + (f"/{quote(name, safe='')}" if name else "")


def make_client() -> GcsClient:
    """Return the client of this process and environment. All readers share it.

    Raises `ConfigurationError` if there are no credentials.
    """
    variables = tuple(sorted((name, os.environ.get(name, "")) for name in (EMULATOR, CREDENTIALS)))
    return _client(os.getpid(), variables)


@lru_cache(maxsize=4)
def _client(_process: int, _variables: tuple[tuple[str, str], ...]) -> GcsClient:
    return GcsClient("gs://")


class GcsBucket(Bucket):
    """A bucket of Google Cloud Storage. The mark of an object is its generation, which every write changes."""

    cloud = GCS
    marked_by = "generation"
    _FIELDS: Final = "name,size,updated,generation"

    def __init__(self, client: GcsClient, name: str) -> None:
        super().__init__(name)
        self._client = client

    def ask(self, key: str, *, mark: str, start: int, end: int) -> ObjectBody:
        """Return the bytes from `start` to `end` under `ifGenerationMatch`. Raises `GcsRefusedError` for a failure."""
        # Without gzip accepted, the server unpacks objects with `Content-Encoding: gzip`, and then ignores ranges.
        headers = {"Accept-Encoding": "gzip"} | ({"Range": f"bytes={start}-{end - 1}"} if end else {})
        params = {"alt": "media", "ifGenerationMatch": mark}
        reply = self._client.ask("GET", object_path(self.name, key), params=params, headers=headers, stream=True)
        length = reply.headers.get("Content-Length")
        if length is not None and int(length) != end - start:
            reply.close()
            raise GcsRefusedError(503, f"{length} bytes were sent where {end - start} were requested")
        return reply.raw

    def _entries(self, prefix: str) -> Iterator[BucketEntry]:
        for page in self._client.pages(self.name, prefix=prefix, fields=f"items({self._FIELDS}),nextPageToken"):
            yield from map(_entry, page.get("items", ()))

    def _below(self, prefix: str) -> list[str]:
        params = {"prefix": prefix, "delimiter": "/", "fields": "items(name),prefixes,nextPageToken"}
        page = next(self._client.pages(self.name, **params))
        return [item["name"] for item in page.get("items", ())] + list(page.get("prefixes", ()))

    def _head(self, key: str) -> BucketEntry:
        return _entry(self._client.ask("GET", object_path(self.name, key), params={"fields": self._FIELDS}).json())


def _session(credentials: Any, retries: Retry) -> AuthorizedSession:
    session = AuthorizedSession(credentials)
    adapter = HTTPAdapter(max_retries=retries, pool_maxsize=_CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["Accept-Encoding"] = "identity"  # bytes as stored
    return session


def _entry(item: Mapping[str, Any]) -> BucketEntry:
    modified = datetime.fromisoformat(item["updated"])
    return BucketEntry(item["name"], int(item["size"]), str(item.get("generation", "")), modified)
