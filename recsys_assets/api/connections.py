"""Limits of the API's server: time for request headers, idle connections, and threads per request class."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import anyio
import msgspec
from anyio import CapacityLimiter, to_thread
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from recsys_assets.errors import StoreUnavailableError

HEAD_SECONDS: Final = 10.0  # time from the connection or the previous response to the end of the request headers
MAX_WAITING: Final = 100  # Connections without a running request. Beyond it, the longest waiting one is closed.
_PATIENCE_SECONDS: Final = 10.0  # time for which a request waits for a thread


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection with protection against slow and partial requests.

    uvicorn waits forever for the rest of the headers, and answers 503 to every client once as many connections are open
    as requests may run. The deadline starts with the wait and does not move with each byte that arrives.
    """

    head_seconds = HEAD_SECONDS
    max_waiting = MAX_WAITING

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self._note_waiting()

    def data_received(self, data: bytes) -> None:
        """Process bytes. Complete headers end the deadline."""
        super().data_received(data)
        self._note_waiting()

    def on_response_complete(self) -> None:
        """Start waiting for the next request."""
        self._stop_waiting()
        super().on_response_complete()
        self._note_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the waiting ones."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _note_waiting(self) -> None:
        if self.transport.is_closing() or self._is_answering():
            self._stop_waiting()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._give_up)
            waiting = self._waiting()
            waiting[self] = None
            while len(waiting) > self.max_waiting:
                next(iter(waiting))._give_up()  # noqa: SLF001 - of the same class

    def _is_answering(self) -> bool:
        # uvicorn's annotation omits that it is None until the first headers are complete.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._waiting().pop(self, None)

    def _give_up(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.transport.abort()  # an orderly close would wait for a peer that does not read

    def _waiting(self) -> "dict[BoundedConnection, None]":
        """Return the server's waiting connections, the longest waiting first."""
        return _WAITING.setdefault(self.server_state, {})


# Keyed by the state that all connections of a server share. Entries are dropped with the server.
_WAITING: "WeakKeyDictionary[Any, dict[BoundedConnection, None]]" = WeakKeyDictionary()


Result = TypeVar("Result")


class RequestClass(StrEnum):
    """Cost class of a request."""

    HEALTH = "health"  # answered under any load
    LIGHT = "light"  # documents, lists
    HEAVY = "heavy"  # reads and compares whole artifacts


THREADS: Final = {RequestClass.HEALTH: 4, RequestClass.LIGHT: 24, RequestClass.HEAVY: 8}


class Budgets(msgspec.Struct, frozen=True):
    """Thread limits per request class. A request without a free thread in time gets 503, which clients retry."""

    patience_seconds: float = _PATIENCE_SECONDS
    _limiters: dict[RequestClass, CapacityLimiter] = msgspec.field(
        default_factory=lambda: {budget: CapacityLimiter(threads) for budget, threads in THREADS.items()}
    )

    async def run(self, chosen: RequestClass, call: Callable[[], Result]) -> Result:
        """Return the result of a blocking call, run in a thread of its class.

        Raises `StoreUnavailableError` if no thread of the class came free within `patience_seconds`.
        """
        limiter, borrower = self._limiters[chosen], object()
        try:
            with anyio.fail_after(self.patience_seconds):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise StoreUnavailableError(f"too many {chosen.value} requests: retry") from None
        try:
            return await to_thread.run_sync(call, limiter=CapacityLimiter(1))
        finally:
            limiter.release_on_behalf_of(borrower)
