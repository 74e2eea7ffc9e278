"""Access to the API: tokens by their hash, each with scopes, where they may be sent, and what a request may do."""

import hashlib
import hmac
import ipaddress
import secrets
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from recsys_assets.api import problems
from recsys_assets.api.problems import ProblemDetails, of_status
from recsys_assets.errors import AccessDeniedError, ConfigurationError
from recsys_assets.settings.api import ApiSettings, Scope, TokenSettings

_OPEN: Final = frozenset({"/health", "/health/live"})  # probes of orchestrators bring no token
MACHINES: Final = (
    "/v1/",
    "/api/",
    "/health",
    "/metrics",
    "/openapi.json",
)  # how all addresses begin but those of pages
_READS: Final = frozenset({"GET", "HEAD"})
_STATE: Final = "recsys_assets.access"  # of the request's state


class TokenCheck:
    """Passes on a request that brings a known token, and remembers it for `require`; with none configured, every one.

    To read, a token needs the scope `read`. Whatever else a request does, its route asks for a scope by `require`. For
    pages a browser may send the token as the password that it asks for; nowhere else, for it sends that of itself, also
    where a page of another origin makes it ask. `page` writes a refusal for people.
    """

    def __init__(self, app: ASGIApp, *, tokens: Sequence[TokenSettings], page: Callable[[ProblemDetails], str]) -> None:
        self._app = app
        self._tokens = tuple(tokens)
        self._page = page

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 (no token that is known) or 403 (one that may not read)."""
        if scope["type"] != "http" or not self._tokens or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        is_page = not scope["path"].startswith(MACHINES)
        token = find_token(self._tokens, Headers(scope=scope).get("authorization", ""), as_password=is_page)
        if token is None:
            ask = "give a token as the password" if is_page else "send a token: Authorization: Bearer TOKEN"
            await self._refusal(401, ask, is_page=is_page)(scope, receive, send)
        elif scope["method"] in _READS and "read" not in token.scopes:
            await self._refusal(403, _lacks("read"), is_page=is_page)(scope, receive, send)
        else:
            scope.setdefault("state", {})[_STATE] = token
            await self._app(scope, receive, send)

    def _refusal(self, status: int, detail: str, *, is_page: bool) -> Response:
        problem = of_status(status, detail)
        headers = {"Cache-Control": "no-store"}
        if status == 401:  # noqa: PLR2004
            headers["WWW-Authenticate"] = 'Basic realm="recsys-assets", charset="UTF-8"' if is_page else "Bearer"
        if is_page:
            return Response(self._page(problem), status, headers, "text/html")
        return Response(msgspec.json.encode(problem), status, headers, problems.MEDIA)


def token_of(request: Request) -> TokenSettings | None:
    """Return the token that a request brought, if one is configured."""
    return request.scope.get("state", {}).get(_STATE)


def check_same_origin(request: Request) -> None:
    """Raise `AccessDeniedError` for a form that no page of this server sent: browsers say where it stands."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    if site == "same-origin" or (site is None and origin and urlsplit(origin).netloc == request.headers.get("host")):
        return
    raise AccessDeniedError("this form was sent from elsewhere: send it from a page of this console")


def require(request: Request, scope: Scope) -> TokenSettings | None:
    """Return the token of a request that may act in a scope; None: none is configured, and it only reads.

    Raises `AccessDeniedError` for a token without the scope, and, where none is configured, for all but reading:
    whoever reaches the port must not be able to write.
    """
    token = token_of(request)
    if token is None and scope != "read":
        raise AccessDeniedError(
            f"this needs a token with the scope {scope}, and the API has none: make one by `recsys-assets token`, and "
            "put its hash into [api] tokens"
        )
    if token is not None and scope not in token.scopes:
        raise AccessDeniedError(_lacks(scope))
    return token


def find_token(
    tokens: Sequence[TokenSettings], authorization: str, *, as_password: bool = False
) -> TokenSettings | None:
    """Return the token that an Authorization header brings, or None; how long that takes reveals nothing of it.

    With `as_password` it may be the password of Basic authentication, whatever the user's name.
    """
    kind, _, secret = authorization.partition(" ")
    kind = kind.lower()
    if kind == "basic" and as_password:
        with suppress(ValueError):
            kind, secret = "bearer", b64decode(secret.strip(), validate=True).decode().partition(":")[2]
    digest = hashlib.sha256(secret.strip().encode()).hexdigest()
    matches = [token for token in tokens if hmac.compare_digest(token.sha256, digest)]
    return matches[0] if matches and kind == "bearer" else None


def make_token() -> tuple[str, str]:
    """Return a new token, and its SHA-256, which is all that the configuration holds of it."""
    token = f"recsys_{secrets.token_urlsafe(32)}"
    return token, hashlib.sha256(token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(settings: ApiSettings, *, host: str) -> tuple[str, ...]:
    """Return the names in the Host header that are answered on an address: see `api.hosts`.

    On a loopback address a page of another origin could otherwise ask by a name of its own that leads here.
    """
    if settings.hosts:
        return settings.hosts
    return ("localhost", "127.0.0.1", "[::1]", "::1", host) if is_loopback(host) else ("*",)


def check_transport(settings: ApiSettings, *, host: str, has_tls: bool) -> None:
    """Refuse to ask for tokens where everybody on the way could read them, by `ConfigurationError`."""
    if settings.tokens and not (has_tls or is_loopback(host) or settings.plain_http):
        raise ConfigurationError(
            f"[api] tokens would cross the network in the clear on {host}: give --ssl-certfile and --ssl-keyfile, "
            "listen on a loopback address, or set api.plain_http = true behind a proxy with TLS"
        )


def _lacks(scope: Scope) -> str:
    return f"this token lacks the scope {scope}: send one that has it, or add it in [api] tokens"
