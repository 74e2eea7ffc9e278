"""Actions of the console: hold, release a hold, roll back, pin, unpin, mark bad.

Each needs confirmation, reason and token.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from recsys_assets.api.access import check_same_origin, require
from recsys_assets.api.actions import ActionRequest, read_body
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.context import ApiContext
from recsys_assets.api.operations import (
    Done,
    hold_target,
    mark_release_bad,
    pin_release,
    release_hold_of_target,
    roll_back_target,
    unpin_release,
)
from recsys_assets.api.queries import TargetQuery, read_query
from recsys_assets.errors import AccessDeniedError

PATH: Final = "/targets/{tenant}/{surface}/act"
COST: Final = RequestClass.LIGHT
_MAX_BYTES: Final = 20_000

VerbName: TypeAlias = Literal["hold", "release_hold", "roll_back", "pin", "unpin", "mark_bad"]


class Verb(msgspec.Struct, frozen=True):
    """One action of the console: label of its button, explanation, and handler."""

    name: str
    message: str
    call: Callable[[ApiContext, ActionRequest], Done]
    of_release: str = ""  # field of the order that names a release, empty for actions on the target


VERBS: Final[dict[str, Verb]] = {
    "hold": Verb("Hold", "No build ships to this target automatically until the hold is released.", hold_target),
    "release_hold": Verb("Release the hold", "Builds ship to this target automatically again.", release_hold_of_target),
    "roll_back": Verb(
        "Roll back",
        "The release below becomes live, the one it replaces is marked bad, and the target is held until there is "
        "newer good data. Nothing is recomputed.",
        roll_back_target,
        "to",
    ),
    "pin": Verb("Pin", "Garbage collection keeps this release until it is unpinned.", pin_release, "release"),
    "unpin": Verb("Unpin", "Garbage collection may collect this release again.", unpin_release, "release"),
    "mark_bad": Verb("Mark bad", "This release does not ship, now or later.", mark_release_bad, "release"),
}


class ActQuery(TargetQuery, frozen=True, kw_only=True):
    """An action for confirmation."""

    action: VerbName
    release: Annotated[str, msgspec.Meta(pattern="^(previous|live|[0-9a-f]{8,64})$", max_length=64)] | None = None


class ActForm(ActQuery, frozen=True, kw_only=True):
    """A confirmed action with its reason."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    confirmed: Literal["yes"]


def may_act(request: Request) -> bool:
    """Return whether the request's token may change the live release."""
    try:
        return require(request, "operate") is not None
    except AccessDeniedError:
        return False


async def read_form(request: Request) -> tuple[ActForm, str]:
    """Return the confirmed action of a form, and the name of its token.

    Raises `AccessDeniedError` without a token of the scope `operate`, and for a form that a page of another origin
    sent, both before the body is read.
    """
    token = require(request, "operate")
    check_same_origin(request)
    body = await read_body(request, max_bytes=_MAX_BYTES)
    fields = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=20)
    return read_query(ActForm, dict(request.path_params), fields, lenient=True), token.name if token else "token"


def act(context: ApiContext, form: ActForm, *, by: str) -> Done:
    """Carry out the action of a form by the handler of the API."""
    verb = VERBS[form.action]
    order: dict[str, Any] = {"reason": form.reason}
    if verb.of_release and form.release:
        order[verb.of_release] = form.release
    target = TargetQuery(tenant=form.tenant, surface=form.surface)
    return verb.call(context, ActionRequest(target, msgspec.json.encode(order), {}, by))
