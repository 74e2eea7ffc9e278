"""Liveness and readiness of the service, for separate probes of an orchestrator."""

from http import HTTPStatus

import msgspec

from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import NoQuery
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.release.layout import pointer_key


class Health(msgspec.Struct, frozen=True):
    """`live`: the process answers. `ready`: the store answered just now. Otherwise `message` says why not."""

    live: bool
    ready: bool
    message: str

    @property
    def status(self) -> int:
        """HTTP status for probes: 200 if ready, else 503."""
        return HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE


class Liveness(msgspec.Struct, frozen=True):
    """The process answers. Restart it if this response is missing."""

    live: bool


def show_liveness(context: ApiContext, query: NoQuery) -> Liveness:  # noqa: ARG001 - as every handler is called
    """Return that the process answers, without accessing the store, whose faults do not need a restart."""
    return Liveness(live=True)


def show_health(context: ApiContext, query: NoQuery) -> Health:  # noqa: ARG001 - as every handler is called
    """Return whether the store answers a stat of the first target's pointer, with status 503 if it does not."""
    try:
        if context.targets:
            context.store.stat(pointer_key(context.targets[0]))
    except RecsysAssetsError:
        return Health(live=True, ready=False, message="the store does not answer")
    return Health(live=True, ready=True, message="the store answers")
