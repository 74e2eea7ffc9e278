"""Heartbeat of a consumer: the release it serves, written into the store from a thread apart from requests."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

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
_LOOK_SECONDS = 1.0  # so soon after a switch it is written
_LEAST_SECONDS = 10.0  # between two beats that say the same, however often the consumer polls


@dataclass(frozen=True, slots=True)
class ReaderCounts:
    """What a reader counted: answers by release, those of a trial, and looks at the store that failed, by problem."""

    answers: tuple[ReleaseAnswers, ...]
    trial: TrialAnswers | None
    failures: dict[str, int]


class HeartbeatWriter:
    """Writes what `status` reports into the store: when that changes, and every `every_seconds` anyway.

    What goes wrong is logged once and tried again; a consumer that may only read goes on without. A forked child beats
    under its parent's name with its process id behind it.
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
        self._tried: Heartbeat | None = None  # the last one, written or not: a store that fails is not hurried
        self._is_failing = False
        look = min(_LOOK_SECONDS, every_seconds)
        self._poller = Poller(self._beat_if_due, seconds=look, name=f"heartbeat of {consumer}")
        renew_after_fork(self)

    def start(self) -> None:
        """Beat from a thread of its own."""
        self._poller.start()

    def stop(self, *, wait_seconds: float) -> None:
        """End, and say so in the store, waiting for that at most so long: a silent store delays no shutdown."""
        if self._poller.stop(wait_seconds=wait_seconds) and self._etag is not None:
            last = threading.Thread(target=self.beat, kwargs={"left": True}, name="last heartbeat", daemon=True)
            last.start()
            last.join(wait_seconds)

    def beat(self, *, left: bool = False) -> bool:
        """Write what is served now, and return whether it was written; the package's errors are logged, not raised."""
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
        """Be another consumer than the parent, without what it held."""
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
        if (status.release_id, status.state.value, self._mark()) != (tried.release, tried.state, tried.blocked):
            return True
        return (self._now() - self._tried.seen).total_seconds() >= self._every_seconds

    def _mark(self) -> str | UnsetType:
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
            blocked=self._mark(),
            trial=counted.trial or UNSET,
            failures=counted.failures or UNSET,
            v=format_with(counted.failures),
        )
