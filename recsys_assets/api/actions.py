"""Actions: endpoints that change something or read headers, with their scopes, requests and responses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from recsys_assets.api.access import require
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import NoQuery
from recsys_assets.decoders import decoder_of
from recsys_assets.errors import BadRequestError
from recsys_assets.settings.outputs import Scope

MAX_JSON_BYTES: Final = 1_000_000

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]
Form = TypeVar("Form")


class ActionRequest(msgspec.Struct, frozen=True):
    """One request: validated parameters, body, headers, and the name of its token (None without a token)."""

    query: Any
    body: bytes = b""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    by: str | None = None

    def read(self, form: type[Form]) -> Form:
        """Return the JSON body as a validated value. Raises `BadRequestError` for a missing or invalid body."""
        if not self.body:
            raise BadRequestError("the request has no body: send a JSON document")
        try:
            return decoder_of(form).decode(self.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRequestError(f"the body is not a valid document of this endpoint: {str(error)[:500]}") from error


class ActionResponse(msgspec.Struct, frozen=True):
    """Value of a response with an explicit status and headers."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])


class Endpoint:
    """Base of actions and read routes, named and documented by their handler functions."""

    __slots__ = ()
    handle: Callable[..., Any]

    @property
    def name(self) -> str:
        """Operation id, the name of the handler."""
        return self.handle.__name__

    @property
    def message(self) -> str:
        """Summary, the first line of the handler's docstring."""
        return (self.handle.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Action(Endpoint):
    """One method of one path: required scope, types of parameters, body and response value, and the handler.

    The handler takes the context and the request, and returns a value of the type `answer`, an `ActionResponse` or a
    `Response`. It is called only for a token with the scope. `read` needs a token only if tokens are configured.
    """

    method: Method
    path: str
    scope: Scope
    query: type[NoQuery]
    body: Any  # Type of the JSON body, for the OpenAPI description. None without a body.
    answer: Any
    handle: Callable[[ApiContext, ActionRequest], Any]
    status: int = 200
    cost: RequestClass = RequestClass.LIGHT
    max_bytes: int = MAX_JSON_BYTES
    files: tuple[str, ...] = ()  # content types of responses other than JSON


def allow(request: Request, action: Action) -> str | None:
    """Return the name of the request's token. Raises `AccessDeniedError` if it lacks the action's scope."""
    token = require(request, action.scope)
    return token.name if token else None


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """Return the body of a request. Raises `BadRequestError` as soon as more than `max_bytes` arrived."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise BadRequestError(f"the body is larger than {max_bytes} bytes, the limit of this endpoint")
        parts.append(part)
    return b"".join(parts)


def answer_of(action: Action, value: Any) -> Response:
    """Return the HTTP response for the value that an action's handler returned."""
    if isinstance(value, Response):
        return value
    response = value if isinstance(value, ActionResponse) else ActionResponse(value, action.status)
    headers = {"Cache-Control": "no-store", **response.headers}
    if response.value is None:
        return Response(status_code=response.status, headers=headers)
    return Response(msgspec.json.encode(response.value), response.status, headers, "application/json")
