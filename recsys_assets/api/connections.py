"""Connections of the API's server: each sends its request's head in time, and those that wait are few."""

import asyncio
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEAD_SECONDS: Final = 10.0  # from the connection, or the answer before, to the last byte of the request's head
MAX_WAITING: Final = 100  # connections without a request under way; beyond, the one that waits longest is closed


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 connection with the limits that it lacks: a request sent by halves blocks nobody.

    uvicorn waits without end for the rest of a head, and answers 503 to all when as many connections are open as
    requests may run. The deadline counts from the first wait and does not move with each byte that trickles in.
    """

    head_seconds = HEAD_SECONDS
    max_waiting = MAX_WAITING

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._note_waiting()

    def data_received(self, data: bytes) -> None:
        """Take bytes; the deadline ends with the head that they complete."""
        super().data_received(data)
        self._note_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        self._stop_waiting()
        super().on_response_complete()
        self._note_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
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
        # uvicorn's annotation hides that there is none until the first head is complete.
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
            self.transport.abort()  # closing in order would wait for a peer that does not read

    def _waiting(self) -> "dict[BoundedConnection, None]":
        """Return the server's connections that wait, the longest first."""
        return _WAITING.setdefault(self.server_state, {})


# By server, whose connections share one state; it ends with the server.
_WAITING: "WeakKeyDictionary[Any, dict[BoundedConnection, None]]" = WeakKeyDictionary()
