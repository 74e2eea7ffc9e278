"""Heartbeat of a consumer: the release it serves, written into the store by a background thread."""

import logging
import os
import threading
from collections.abc import Callable
from secrets import token_hex

import msgspec
from msgspec import UNSET, UnsetType

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import check_segment, rfc3339
from recsys_assets.release.journal import Clock
from recsys_assets.serving.state import Status
from recsys_assets.serving.threads import Poller, renew_after_fork
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.heartbeats import (
    MAX_SECONDS,
    Heartbeat,
    ReleaseAnswers,
    TrialAnswers,
    format_with,
    write_heartbeat,
)

_log = logging.getLogger(__name__)
_CHECK_SECONDS = 1.0  # the longest delay of the heartbeat after a switch
_LEAST_SECONDS = 10.0  # the shortest pause between two beats with the same content, however often the consumer polls


class ReaderCounts(msgspec.Struct, frozen=True):
    """Counts of a reader: lookups by release, lookups of a trial, and failed refreshes by problem."""

    answers: tuple[ReleaseAnswers, ...]
    trial: TrialAnswers | None
    failures: dict[str, int]


class HeartbeatWriter:
    """Writes the status of a reader into the store: when it changes, and at least every `every_seconds`.

    An error is logged once, and the write is tried again. A consumer without permission to write keeps serving. A
    forked child writes its heartbeat under its parent's name followed by its process id.
    """

    def __init__(
        self,
        store: ObjectStore,
        consumer: str,
        *,
        every_seconds: float,
        now: Clock,
        status: Callable[[], Status],
        counted: Callable[[], ReaderCounts],
        blocked: Callable[[], str | None],
    ) -> None:
        self.consumer = check_segment(consumer, what="consumer")
        self._store = store
        self._every_seconds = min(max(every_seconds, _LEAST_SECONDS), MAX_SECONDS)
        self._now = now
        self._status = status
        self._counted = counted
        self._blocked = blocked
        self._lock = threading.Lock()
        self._etag: str | None = None
        self._tried: Heartbeat | None = (
            None  # the last one, written or not, so that a failing store is not tried more often
        )
        self._is_failing = False
        check_seconds = min(_CHECK_SECONDS, every_seconds)
        self._poller = Poller(self._beat_if_due, seconds=check_seconds, name=f"heartbeat of {consumer}")
        renew_after_fork(self)

    def start(self) -> None:
        """Start writing heartbeats from a background thread."""
        self._poller.start()

    def stop(self, *, wait_seconds: float) -> None:
        """Stop, and write a last heartbeat with `left`, waiting at most `wait_seconds` for each."""
        if self._poller.stop(wait_seconds=wait_seconds) and self._etag is not None:
            last = threading.Thread(target=self.beat, kwargs={"left": True}, name="last heartbeat", daemon=True)
            last.start()
            last.join(wait_seconds)

    def beat(self, *, left: bool = False) -> bool:
        """Write the heartbeat now and return whether it was written. The package's errors are logged, not raised."""
        with self._lock:
            beat = self._tried = self._heartbeat_of_now(left=left)
            try:
                self._etag = write_heartbeat(self._store, self._status().target, beat, expected=self._etag)
            except RecsysAssetsError as error:
                level = logging.DEBUG if self._is_failing else logging.WARNING
                _log.log(level, "heartbeat failed consumer=%s why=%s", self.consumer, error)
                self._is_failing = True
                return False
            self._is_failing = False
            return True

    def after_fork(self) -> None:
        """Become a consumer of its own in a forked child, without the state of the parent."""
        self.consumer = f"{self.consumer}.{os.getpid()}"
        self._lock = threading.Lock()
        self._etag = self._tried = None

    def _beat_if_due(self) -> None:
        if self._is_due():
            self.beat()

    def _is_due(self) -> bool:
        if self._tried is None:
            return True
        status = self._status()
        tried = self._tried
        if (status.release_id, status.state.value, self._blocked_list()) != (tried.release, tried.state, tried.blocked):
            return True
        return (self._now() - self._tried.seen).total_seconds() >= self._every_seconds

    def _blocked_list(self) -> str | UnsetType:
        return self._blocked() or UNSET

    def _heartbeat_of_now(self, *, left: bool) -> Heartbeat:
        status, counted = self._status(), self._counted()
        return Heartbeat(
            consumer=self.consumer,
            release=status.release_id,
            state=status.state.value,
            seen_at=rfc3339(self._now()),
            every_seconds=self._every_seconds,
            nonce=token_hex(8),
            left=left,
            answers=counted.answers,
            blocked=self._blocked_list(),
            trial=counted.trial or UNSET,
            failures=counted.failures or UNSET,
            v=format_with(counted.failures),
        )
