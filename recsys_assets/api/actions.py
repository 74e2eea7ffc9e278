"""Actions: addresses that change something, or read headers: the scope of each, and what its function is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from recsys_assets.settings.api import Scope

MAX_JSON_BYTES: Final = 1_000_000

Method: TypeAlias = Literal["GET", "POST", "PUT", "DELETE"]
Form = TypeVar("Form")


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """One request: its checked parameters, its body, its headers, and the name of its token (None: it has none)."""

    query: Any
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    by: str | None = None

    def read(self, form: type[Form]) -> Form:
        """Return the body, a JSON document, as a checked value; `BadRequestError` says where it is none."""
        if not self.body:
            raise BadRequestError("the request has no body: send a JSON document")
        try:
            return decoder_of(form).decode(self.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadRequestError(f"the body is no document of this address: {str(error)[:500]}") from error


@dataclass(frozen=True, slots=True)
class ActionResponse:
    """An answer with a status or headers of its own."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Endpoint:
    """Base of actions and read routes: named and documented by the function that answers."""

    __slots__ = ()
    handle: Callable[..., Any]

    @property
    def name(self) -> str:
        """The operation's id: the function's name."""
        return self.handle.__name__

    @property
    def message(self) -> str:
        """What it does, as the function's first line says."""
        return (self.handle.__doc__ or "").partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Action(Endpoint):
    """One method of one address: the scope that it needs, its parameters, its body, its answer, and its function.

    The function takes the context and the request, and returns a value of the type `answer`, an `ActionResponse` or a
    `Response`. It is called only for a token with the scope; `read` needs one only where tokens are configured.
    """

    method: Method
    path: str
    scope: Scope
    query: type[NoQuery]
    body: Any  # type of the JSON document, for the description; None: no body
    answer: Any
    handle: Callable[[ApiContext, ActionRequest], Any]
    status: int = 200
    cost: RequestClass = RequestClass.LIGHT
    max_bytes: int = MAX_JSON_BYTES
    files: tuple[str, ...] = ()  # content types of answers that are no JSON


def allow(request: Request, action: Action) -> str | None:
    """Return the name of the token that may take an action; raise `AccessDeniedError` if it may not."""
    token = require(request, action.scope)
    return token.name if token else None


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """Return the body of a request; `BadRequestError` for one that is larger, before the rest of it is read."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise BadRequestError(f"the body is over {max_bytes} bytes, which this address takes at most")
        parts.append(part)
    return b"".join(parts)


def answer_of(action: Action, found: Any) -> Response:
    """Return the HTTP answer to what an action's function returned."""
    if isinstance(found, Response):
        return found
    response = found if isinstance(found, ActionResponse) else ActionResponse(found, action.status)
    headers = {"Cache-Control": "no-store", **response.headers}
    if response.value is None:
        return Response(status_code=response.status, headers=headers)
    return Response(msgspec.json.encode(response.value), response.status, headers, "application/json")
