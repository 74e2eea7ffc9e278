"""Access control of the API: token hashes, scopes, allowed hosts and transport, and same-origin checks."""

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
from recsys_assets.settings.outputs import ApiSettings, Scope, TokenSettings

_OPEN: Final = frozenset({"/health", "/health/live"})  # orchestrators probe without a token
MACHINES: Final = (
    "/v1/",
    "/api/",
    "/health",
    "/metrics",
    "/openapi.json",
)  # path prefixes of every address except pages
_READS: Final = frozenset({"GET", "HEAD"})
_STATE: Final = "recsys_assets.access"  # key in the request's state


class TokenCheck:
    """ASGI middleware that admits requests with a known token, and stores the token for `require`.

    Without configured tokens every request is admitted. Reading needs the scope `read`. Routes that do more check their
    scope by `require`. Only pages accept the token as a Basic password: browsers resend that automatically, even for a
    request that a page of another origin caused. `page` renders a refusal as HTML.
    """

    def __init__(self, app: ASGIApp, *, tokens: Sequence[TokenSettings], page: Callable[[ProblemDetails], str]) -> None:
        self._app = app
        self._tokens = tuple(tokens)
        self._page = page

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 (no known token) or 403 (the token lacks the scope `read`)."""
        if scope["type"] != "http" or not self._tokens or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        is_page = not scope["path"].startswith(MACHINES)
        token = find_token(self._tokens, Headers(scope=scope).get("authorization", ""), as_password=is_page)
        if token is None:
            ask = "enter a token as the password" if is_page else "send a token: Authorization: Bearer TOKEN"
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
    """Return the token of a request, or None if no tokens are configured."""
    return request.scope.get("state", {}).get(_STATE)


def check_same_origin(request: Request) -> None:
    """Raise `AccessDeniedError` for a form sent by a page of another origin, by `Sec-Fetch-Site` or `Origin`."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    if site == "same-origin" or (site is None and origin and urlsplit(origin).netloc == request.headers.get("host")):
        return
    raise AccessDeniedError("this form was sent from elsewhere: send it from a page of this console")


def require(request: Request, scope: Scope) -> TokenSettings | None:
    """Return the token of a request that has a scope, or None if it only reads and no tokens are configured.

    Raises `AccessDeniedError` for a token without the scope. Without configured tokens it raises for every scope except
    `read`, because a client that reaches the port must not be able to write.
    """
    token = token_of(request)
    if token is None and scope != "read":
        raise AccessDeniedError(
            f"this needs a token with the scope {scope}, and no tokens are configured: create one with "
            "`recsys-assets token`, and add its hash to [api] tokens"
        )
    if token is not None and scope not in token.scopes:
        raise AccessDeniedError(_lacks(scope))
    return token


def find_token(
    tokens: Sequence[TokenSettings], authorization: str, *, as_password: bool = False
) -> TokenSettings | None:
    """Return the token of an Authorization header, or None. Hashes are compared in constant time.

    With `as_password` it may be the password of Basic authentication, with any user name.
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
    """Return a new token and its SHA-256. The configuration contains only the hash."""
    token = f"recsys_{secrets.token_urlsafe(32)}"
    return token, hashlib.sha256(token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(settings: ApiSettings, *, host: str) -> tuple[str, ...]:
    """Return the accepted names in the Host header for a listening address: see `api.hosts`.

    Restricting them on a loopback address prevents DNS rebinding by a page of another origin.
    """
    if settings.hosts:
        return settings.hosts
    return ("localhost", "127.0.0.1", "[::1]", "::1", host) if is_loopback(host) else ("*",)


def check_transport(settings: ApiSettings, *, host: str, has_tls: bool) -> None:
    """Raise `ConfigurationError` if tokens would cross the network unencrypted."""
    if settings.tokens and not (has_tls or is_loopback(host) or settings.plain_http):
        raise ConfigurationError(
            f"[api] tokens would cross the network unencrypted on {host}: set --ssl-certfile and --ssl-keyfile, "
            "listen on a loopback address, or set api.plain_http = true behind a proxy with TLS"
        )


def _lacks(scope: Scope) -> str:
    return f"this token lacks the scope {scope}: send another token, or add the scope in [api] tokens"
