"""Admin application of a service: health, readiness, metrics, what is served, and a look at the store on demand.

An ASGI application without a framework, mounted beside the service's own: `app.mount("/recsys", AdminApp(reader))`.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import msgspec

from recsys_assets.errors import ConfigurationError
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Refresh, RefreshOutcome, State, Status

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Final = "application/json"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_READS: Final = ("GET", "HEAD")
_DIGEST: Final = 64


class HttpResponse(msgspec.Struct, frozen=True):
    """One answer: status, body and content type."""

    status: int
    body: bytes
    media: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class AdminApp:
    """The readers of this process over HTTP.

    `GET health/live` is 200 while the process answers; `health/ready` is 200 once every reader serves a release, else
    503; `served` says of each what it serves, since when, and why nothing newer; `metrics` is Prometheus' text.
    `POST invalidate` has all readers look at the store now, instead of at their next poll, and says what came of it: it
    needs `Authorization: Bearer <token>`, where `token_sha256` is the token's SHA-256 in hex; without one nobody may.
    """

    def __init__(self, *readers: Reader, token_sha256: str | None = None) -> None:
        if not readers:
            raise ConfigurationError("an AdminApp needs the readers of this process: AdminApp(reader)")
        if token_sha256 is not None and not (len(token_sha256) == _DIGEST and token_sha256 == token_sha256.lower()):
            raise ConfigurationError("token_sha256: expected the SHA-256 of a token in lower-case hex, 64 digits")
        self._readers = readers
        self._token = token_sha256

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a lifespan is agreed to, and nothing is started in it."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _send(send, await self._answer(scope), with_body=scope["method"] != "HEAD")

    async def _answer(self, scope: Scope) -> HttpResponse:
        path = str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).strip("/")
        reads: Mapping[str, Callable[[], HttpResponse]] = {
            "health/live": lambda: _json(200, {"status": "live"}),
            "health/ready": self._ready,
            "served": lambda: _json(200, [self._served(reader) for reader in self._readers]),
            "metrics": self._metrics,
        }
        if path == "invalidate":
            if scope["method"] != "POST":
                return _json(405, {"message": "expected POST"}, (b"allow", b"POST"))
            return self._refused(scope) or await self._invalidate()
        if path not in reads:
            return _json(404, {"message": f"expected {', '.join(reads)} or invalidate"})
        if scope["method"] not in _READS:
            return _json(405, {"message": "expected GET"}, (b"allow", b"GET, HEAD"))
        return reads[path]()

    def _ready(self) -> HttpResponse:
        waiting = [status for reader in self._readers if (status := reader.status()).release_id is None]
        found = {str(status.target): status.why or State.NEVER_LOADED.value for status in waiting}
        return _json(503, {"status": "waiting", "targets": found}) if waiting else _json(200, {"status": "ready"})

    def _served(self, reader: Reader) -> dict[str, Any]:
        status = reader.status()
        versions = reader.snapshot().versions if status.release_id is not None else {}
        return {**_fields(status), "versions": versions}

    def _metrics(self) -> HttpResponse:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - not every service has metrics

        from recsys_assets.serving.prometheus import ReaderCollector  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(ReaderCollector(*self._readers))
        return HttpResponse(200, generate_latest(registry), METRICS)

    async def _invalidate(self) -> HttpResponse:
        """Look at the store with every reader, each in a thread: whoever asks meanwhile gets the same look's result."""
        looks = await asyncio.gather(*(asyncio.to_thread(reader.refresh) for reader in self._readers))
        pairs = zip(self._readers, looks, strict=True)
        found = [{"target": str(reader.status().target), **_look(look)} for reader, look in pairs]
        failed = any(look.outcome is RefreshOutcome.FAILED for look in looks)
        return _json(503 if failed else 200, found)

    def _refused(self, scope: Scope) -> HttpResponse | None:
        """Return why a request may not change anything, or None if it brings the token."""
        if self._token is None:
            return _json(403, {"message": "no token is set: make the AdminApp with token_sha256"})
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        same = hmac.compare_digest(hashlib.sha256(given.strip()).hexdigest(), self._token)
        if same and kind.lower() == b"bearer":
            return None
        return _json(401, {"message": "expected Authorization: Bearer <token>"}, (b"www-authenticate", b"Bearer"))


def _fields(status: Status) -> dict[str, Any]:
    return {
        "tenant": status.target.tenant,
        "surface": status.target.surface,
        "state": status.state.value,
        "release": status.release_id,
        "updated_at": status.updated_at,
        "loaded_at": status.loaded_at,
        "checked_at": status.checked_at,
        "source": status.source,
        "failures": status.failures,
        "problem": status.problem.value if status.problem else None,
        "why": status.why,
    }


def _look(look: Refresh) -> dict[str, Any]:
    return {"outcome": look.outcome.value, "release": look.release_id, "why": look.why}


def _json(status: int, found: object, *headers: tuple[bytes, bytes]) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(found), headers=headers)


async def _send(send: Send, answer: HttpResponse, *, with_body: bool) -> None:
    own = [(b"content-type", answer.media.encode()), (b"content-length", str(len(answer.body)).encode())]
    headers = [*own, (b"cache-control", b"no-store"), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})


async def _live(receive: Receive, send: Send) -> None:
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": event + ".complete"})
    await send({"type": "lifespan.shutdown.complete"})
