"""Liveness and readiness of the service: two questions that an orchestrator asks apart."""

from dataclasses import dataclass
from http import HTTPStatus

from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import NoQuery
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.release.layout import pointer_key


@dataclass(frozen=True, slots=True)
class Health:
    """`live`: the process answers. `ready`: the store answered it just now; else `message` says what is wrong."""

    live: bool
    ready: bool
    message: str

    @property
    def status(self) -> int:
        """The status by which a probe decides."""
        return HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Liveness:
    """The process answers; restart it when this does not come."""

    live: bool


def show_liveness(context: ApiContext, query: NoQuery) -> Liveness:  # noqa: ARG001 - as every handler is called
    """Return that the process answers, without asking the store: its trouble is no reason for a restart."""
    return Liveness(live=True)


def show_health(context: ApiContext, query: NoQuery) -> Health:  # noqa: ARG001 - as every handler is called
    """Return whether the store answers, by one look at the first target's pointer; 503 when it does not."""
    try:
        if context.targets:
            context.store.stat(pointer_key(context.targets[0]))
    except RecsysAssetsError:
        return Health(live=True, ready=False, message="the store does not answer")
    return Health(live=True, ready=True, message="the store answers")
