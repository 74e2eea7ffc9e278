"""State of a reader with its reason, the outcome of one refresh, and the log lines about both."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

import msgspec
from msgspec.structs import replace

from recsys_assets.errors import (
    ConfigurationError,
    CorruptObjectError,
    NotFoundError,
    RecsysAssetsError,
    StoreUnavailableError,
)
from recsys_assets.identity import Target, rfc3339
from recsys_assets.serving.snapshot import Snapshot


class State(StrEnum):
    """State of the served release. Every state is distinct from the others and from an empty list."""

    FRESH = "fresh"  # the release of the store's pointer at the last poll
    STALE = "stale"  # the last known good release: the store did not reply, or its reply was refused
    EXPIRED = "expired"  # the pointer has not moved for longer than allowed
    BROKEN_RELEASE = "broken_release"  # the release of the store's pointer cannot be loaded: an older one is served
    NEVER_LOADED = "never_loaded"  # nothing can be served


class Problem(StrEnum):
    """Cause of a failed refresh: no reply, or a reply that will not change by itself."""

    OUTAGE = "outage"  # no reply: may recover by itself
    DENIED = "denied"  # credentials, permission or address
    NO_POINTER = "no_pointer"  # the store replies, but has no pointer: deleted, never shipped, or another store
    BAD_POINTER = "bad_pointer"  # not a pointer of this target, or one with URIs of another target
    OLDER_POINTER = "older_pointer"  # older than one seen before: a backup was restored, or a cache replied
    UNRECORDED_RELEASE = "unrecorded_release"  # no record says that these artifacts were released together
    BROKEN_RELEASE = "broken_release"  # a blob is missing, or is not the version in its name


class RefreshOutcome(StrEnum):
    """Result of one refresh."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class Refresh(msgspec.Struct, frozen=True):
    """Result of one refresh: outcome, the release served after it, and the problem if it failed."""

    outcome: RefreshOutcome
    release_id: str | None
    problem: Problem | None = None
    why: str = ""


class Status(msgspec.Struct, frozen=True):
    """Served release of a reader, its times and source, and the problem that prevents a newer release."""

    target: Target
    state: State
    release_id: str | None
    updated_at: datetime | None  # time of the swap of the pointer to it
    loaded_at: datetime | None
    checked_at: datetime | None  # time of the last confirmation by the store
    source: str | None  # "store", "disk" (the copy in copy_folder) or "journal" (the release before a broken one)
    failures: int  # failed refreshes since the last successful one
    problem: Problem | None
    why: str


def problem_of_pointer(error: RecsysAssetsError) -> Problem:
    """Return the problem for an error of reading the pointer."""
    if isinstance(error, NotFoundError):
        return Problem.NO_POINTER
    return Problem.BAD_POINTER if isinstance(error, CorruptObjectError) else _problem(error)


def problem_of_blobs(error: RecsysAssetsError) -> Problem:
    """Return the problem for an error of reading the blobs."""
    return Problem.BROKEN_RELEASE if isinstance(error, (NotFoundError, CorruptObjectError)) else _problem(error)


def _problem(error: RecsysAssetsError) -> Problem:
    return Problem.DENIED if isinstance(error, ConfigurationError) else Problem.OUTAGE


_log = logging.getLogger(__name__)

Listener = Callable[[Snapshot | None, Snapshot], None]


def log_switch(old: Snapshot | None, new: Snapshot, *, source: str, listener: Listener | None) -> None:
    """Log the switch to a release and call the listener. An error of the listener is logged and does not undo it."""
    _log.info(
        "artifact manifest loaded tenant=%s surface=%s release=%s hash=%s updated_at=%s old=%s source=%s",
        new.target.tenant,
        new.target.surface,
        new.release_id,
        new.pointer_digest,
        rfc3339(new.updated_at),
        old.release_id if old else None,
        source,
    )
    if listener is None:
        return
    try:
        listener(old, new)
    except Exception:  # noqa: BLE001 - an error in the code of a service must not affect the switch
        _log.exception("a listener failed on the switch of %s; the switch is kept", new.target)


def log_problem(target: Target, problem: Problem, message: str, *, again: bool) -> None:
    """Log the problem of a failed refresh: as a warning the first time, at debug level if it repeats."""
    level = logging.DEBUG if again else logging.WARNING
    _log.log(level, "artifact manifest refused target=%s problem=%s why=%s", target, problem.value, message)


def log_copy_fault(target: Target, message: str) -> None:
    """Log that the copy on disk could not be used or written."""
    _log.warning("artifact copy failed target=%s why=%s", target, message)


_ERRORS: dict[Problem | None, type[RecsysAssetsError]] = {
    None: StoreUnavailableError,
    Problem.OUTAGE: StoreUnavailableError,
    Problem.DENIED: ConfigurationError,
    Problem.NO_POINTER: NotFoundError,
    Problem.BAD_POINTER: CorruptObjectError,
    Problem.OLDER_POINTER: CorruptObjectError,
    Problem.UNRECORDED_RELEASE: CorruptObjectError,
    Problem.BROKEN_RELEASE: CorruptObjectError,
}


class ReaderView(msgspec.Struct, frozen=True):
    """The served release (None: no release), its source, and the outcome of the last poll.

    A failure is stored as a message: an exception would keep alive the objects of its frames, including blobs.
    """

    target: Target
    snapshot: Snapshot | None = None
    etag: str | None = None  # etag of the store's pointer to it, None if it came from elsewhere
    source: str | None = None
    newest: datetime | None = None  # time of the newest pointer ever accepted
    loaded_at: datetime | None = None
    checked_at: datetime | None = None
    failures: int = 0
    problem: Problem | None = None
    why: str = ""

    def serving(self, snapshot: Snapshot, *, source: str, at: datetime) -> Self:
        """Return the view that serves a release from another source than the store's pointer. Problems are kept."""
        return replace(self, snapshot=snapshot, etag=None, source=source, loaded_at=at)

    def seen(self, instant: datetime) -> Self:
        """Return the view that refuses pointers older than a timestamp."""
        return replace(self, newest=instant)

    def switched(self, snapshot: Snapshot, *, etag: str | None, at: datetime) -> Self:
        """Return the view that serves the release of the store's pointer. Without `etag` the next poll rereads it."""
        moved = replace(self, snapshot=snapshot, etag=etag, source="store", newest=snapshot.updated_at, loaded_at=at)
        return moved.confirmed(at=at)

    def confirmed(self, *, at: datetime) -> Self:
        """Return the view after the store confirmed that nothing has changed."""
        return replace(self, checked_at=at, failures=0, problem=None, why="")

    def failed(self, problem: Problem, message: str) -> Self:
        """Return the view after a failed refresh."""
        return replace(self, failures=self.failures + 1, problem=problem, why=message)

    def held(self) -> Snapshot:
        """Return the served release, or raise the reason why there is none.

        - `StoreUnavailableError`: no reply yet.
        - `NotFoundError`: nothing was ever shipped, or the pointer is missing.
        - `ConfigurationError`: no permission.
        - `CorruptObjectError`: pointer or release cannot be verified.
        """
        if self.snapshot is None:
            message = self.why or "nothing was loaded yet: call start() or refresh() first"
            raise _ERRORS[self.problem](f"{self.target} is not served: {message}")
        return self.snapshot

    def status(self, *, now: datetime, stale_after: timedelta, expire_after: timedelta | None) -> Status:
        """Return the status for users and health checks."""
        held = self.snapshot
        return Status(
            target=self.target,
            state=self._state(now, stale_after, expire_after),
            release_id=held.release_id if held else None,
            updated_at=held.updated_at if held else None,
            loaded_at=self.loaded_at,
            checked_at=self.checked_at,
            source=self.source,
            failures=self.failures,
            problem=self.problem,
            why=self.why,
        )

    def _state(self, now: datetime, stale_after: timedelta, expire_after: timedelta | None) -> State:
        broken = self.problem is Problem.BROKEN_RELEASE
        if self.snapshot is None:
            return State.BROKEN_RELEASE if broken else State.NEVER_LOADED
        moved_at = min(
            self.snapshot.updated_at, self.loaded_at or now
        )  # a pointer time in the future must not delay expiry
        if expire_after is not None and now - moved_at > expire_after:
            return State.EXPIRED
        if broken:
            return State.BROKEN_RELEASE
        if self.problem is not None or self.checked_at is None or now - self.checked_at > stale_after:
            return State.STALE
        return State.FRESH
