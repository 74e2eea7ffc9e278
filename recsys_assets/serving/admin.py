"""Admin application of a service: health, readiness, metrics, the served release, and a refresh on demand.

An ASGI application without a framework, mounted next to the service's own: `app.mount("/recsys", AdminApp(reader))`.
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
_HEX_DIGITS: Final = 64


class HttpResponse(msgspec.Struct, frozen=True):
    """One HTTP response: status, body, content type and further headers."""

    status: int
    body: bytes
    media: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class AdminApp:
    """The readers of this process over HTTP.

    `GET health/live` returns 200 while the process runs. `health/ready` returns 200 once every reader serves a release,
    else 503. `served` returns the release of each reader, since when, and why it serves nothing newer. `metrics`
    returns metrics in Prometheus' text format. `POST invalidate` refreshes all readers now, instead of at their next
    poll, and returns the outcomes. It needs `Authorization: Bearer <token>`, where `token_sha256` is the token's
    SHA-256 in hex. Without `token_sha256` every such request is refused.
    """

    def __init__(self, *readers: Reader, token_sha256: str | None = None) -> None:
        if not readers:
            raise ConfigurationError("an AdminApp needs the readers of this process: AdminApp(reader)")
        if token_sha256 is not None and not (len(token_sha256) == _HEX_DIGITS and token_sha256 == token_sha256.lower()):
            raise ConfigurationError("token_sha256: expected the SHA-256 of a token in lower-case hex, 64 digits")
        self._readers = readers
        self._token = token_sha256

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request. Lifespan events are acknowledged without starting anything."""
        if scope["type"] == "lifespan":
            await _acknowledge_lifespan(receive, send)
        elif scope["type"] == "http":
            await _send(send, await self._respond(scope), with_body=scope["method"] != "HEAD")

    async def _respond(self, scope: Scope) -> HttpResponse:
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
            return self._refusal(scope) or await self._invalidate()
        if path not in reads:
            return _json(404, {"message": f"expected {', '.join(reads)} or invalidate"})
        if scope["method"] not in _READS:
            return _json(405, {"message": "expected GET"}, (b"allow", b"GET, HEAD"))
        return reads[path]()

    def _ready(self) -> HttpResponse:
        waiting = [status for reader in self._readers if (status := reader.status()).release_id is None]
        reasons = {str(status.target): status.why or State.NEVER_LOADED.value for status in waiting}
        return _json(503, {"status": "waiting", "targets": reasons}) if waiting else _json(200, {"status": "ready"})

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
        """Refresh every reader, each in a thread. Concurrent requests get the result of the same refresh."""
        refreshes = await asyncio.gather(*(asyncio.to_thread(reader.refresh) for reader in self._readers))
        pairs = zip(self._readers, refreshes, strict=True)
        outcomes = [{"target": str(reader.status().target), **_outcome(refresh)} for reader, refresh in pairs]
        failed = any(refresh.outcome is RefreshOutcome.FAILED for refresh in refreshes)
        return _json(503 if failed else 200, outcomes)

    def _refusal(self, scope: Scope) -> HttpResponse | None:
        """Return the response to a request without the right token, or None if it has the token."""
        if self._token is None:
            return _json(403, {"message": "no token is set: make the AdminApp with token_sha256"})
        kind, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        is_token = hmac.compare_digest(hashlib.sha256(given.strip()).hexdigest(), self._token)
        if is_token and kind.lower() == b"bearer":
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


def _outcome(refresh: Refresh) -> dict[str, Any]:
    return {"outcome": refresh.outcome.value, "release": refresh.release_id, "why": refresh.why}


def _json(status: int, content: object, *headers: tuple[bytes, bytes]) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode(content), headers=headers)


async def _send(send: Send, response: HttpResponse, *, with_body: bool) -> None:
    own = [(b"content-type", response.media.encode()), (b"content-length", str(len(response.body)).encode())]
    headers = [*own, (b"cache-control", b"no-store"), *response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body if with_body else b""})


async def _acknowledge_lifespan(receive: Receive, send: Send) -> None:
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": event + ".complete"})
    await send({"type": "lifespan.shutdown.complete"})
