"""State of a reader with its reason, the outcome of one refresh, and the log lines about both."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

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
    """How good what is served is; no two of them look alike, and none looks like an empty list."""

    FRESH = "fresh"  # the release that the store's pointer named a moment ago
    STALE = "stale"  # the last known good one: the store could not be asked, or what it said was refused
    EXPIRED = "expired"  # a pointer that has not moved for longer than was allowed
    BROKEN_RELEASE = "broken_release"  # the store's pointer names a release that cannot be loaded: an older one serves
    NEVER_LOADED = "never_loaded"  # nothing can be served


class Problem(StrEnum):
    """Why a refresh failed: an answer of the store that stands, or no answer."""

    OUTAGE = "outage"  # no answer: it may pass by itself
    DENIED = "denied"  # credentials, permission or address
    NO_POINTER = "no_pointer"  # the store answers, and there is no pointer: deleted, never shipped, or another store
    BAD_POINTER = "bad_pointer"  # it is no pointer of this target, or names what is not this target's
    OLDER_POINTER = "older_pointer"  # older than one seen before: a backup was restored, or a cache answers
    UNRECORDED_RELEASE = "unrecorded_release"  # no record says that these artifacts were released together
    BROKEN_RELEASE = "broken_release"  # a blob is missing, or not what its name says


class RefreshOutcome(StrEnum):
    """Result of one refresh."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Refresh:
    """One look at the store: what came of it, the release served after it, and, of a failure, why."""

    outcome: RefreshOutcome
    release_id: str | None
    problem: Problem | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What a reader serves, since when, from where, and what stands in the way of something newer."""

    target: Target
    state: State
    release_id: str | None
    updated_at: datetime | None  # when the pointer to it was swapped
    loaded_at: datetime | None
    checked_at: datetime | None  # when the store last confirmed it
    source: str | None  # "store", "disk" (the last known good copy) or "journal" (the release before a broken one)
    failures: int  # refreshes that failed since the last that did not
    problem: Problem | None
    why: str


def problem_of_pointer(error: RecsysAssetsError) -> Problem:
    """Return what an error means that was met while the pointer was read."""
    if isinstance(error, NotFoundError):
        return Problem.NO_POINTER
    return Problem.BAD_POINTER if isinstance(error, CorruptObjectError) else _problem(error)


def problem_of_blobs(error: RecsysAssetsError) -> Problem:
    """Return what an error means that was met while the blobs were read."""
    return Problem.BROKEN_RELEASE if isinstance(error, (NotFoundError, CorruptObjectError)) else _problem(error)


def _problem(error: RecsysAssetsError) -> Problem:
    return Problem.DENIED if isinstance(error, ConfigurationError) else Problem.OUTAGE


_log = logging.getLogger(__name__)

Listener = Callable[[Snapshot | None, Snapshot], None]


def log_switch(old: Snapshot | None, new: Snapshot, *, source: str, listener: Listener | None) -> None:
    """Log which release serves from now on, and call the listener; what it raises is logged, and the switch stays."""
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
    except Exception:  # noqa: BLE001 - whatever a service does there, what is served must not depend on it
        _log.exception("a listener failed on the switch of %s; the switch stands", new.target)


def log_problem(target: Target, problem: Problem, why: str, *, again: bool) -> None:
    """Log why a look at the store brought nothing: as a warning once, then where only debugging sees it."""
    level = logging.DEBUG if again else logging.WARNING
    _log.log(level, "artifact manifest refused target=%s problem=%s why=%s", target, problem.value, why)


def log_copy_fault(target: Target, why: str) -> None:
    """Log that the copy on disk could not be used or written."""
    _log.warning("artifact copy failed target=%s why=%s", target, why)


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


@dataclass(frozen=True, slots=True)
class ReaderView:
    """The release that is served (None: none), where it came from, and how looking for a newer one went.

    A failure is kept in words: an exception would keep alive whatever its frames held, blobs among it.
    """

    target: Target
    snapshot: Snapshot | None = None
    etag: str | None = None  # of the store's pointer to it; None where it came from elsewhere
    source: str | None = None
    newest: datetime | None = None  # time of the newest pointer ever seen and taken
    loaded_at: datetime | None = None
    checked_at: datetime | None = None
    failures: int = 0
    problem: Problem | None = None
    why: str = ""

    def serving(self, snapshot: Snapshot, *, source: str, at: datetime) -> Self:
        """Return the view that serves a release that did not come from the store's pointer; problems stay."""
        return replace(self, snapshot=snapshot, etag=None, source=source, loaded_at=at)

    def seen(self, instant: datetime) -> Self:
        """Return the view that refuses pointers older than an instant."""
        return replace(self, newest=instant)

    def switched(self, snapshot: Snapshot, *, etag: str | None, at: datetime) -> Self:
        """Return the view that serves what the store's pointer names; without `etag` the next look reads it again."""
        moved = replace(self, snapshot=snapshot, etag=etag, source="store", newest=snapshot.updated_at, loaded_at=at)
        return moved.confirmed(at=at)

    def confirmed(self, *, at: datetime) -> Self:
        """Return the view after the store said that nothing has changed."""
        return replace(self, checked_at=at, failures=0, problem=None, why="")

    def failed(self, problem: Problem, why: str) -> Self:
        """Return the view after a look at the store that brought nothing."""
        return replace(self, failures=self.failures + 1, problem=problem, why=why)

    def held(self) -> Snapshot:
        """Return what is served, or raise why there is nothing.

        `StoreUnavailableError`: no answer yet; `NotFoundError`: nothing was ever shipped, or the pointer is gone;
        `ConfigurationError`: no permission; `CorruptObjectError`: what the store names cannot be trusted.
        """
        if self.snapshot is None:
            why = self.why or "nothing was loaded yet: call start() or refresh() first"
            raise _ERRORS[self.problem](f"{self.target} is not served: {why}")
        return self.snapshot

    def status(self, *, now: datetime, stale_after: timedelta, expire_after: timedelta | None) -> Status:
        """Return what people and health checks ask."""
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
        moved_at = min(self.snapshot.updated_at, self.loaded_at or now)  # a clock that was ahead stops no expiry
        if expire_after is not None and now - moved_at > expire_after:
            return State.EXPIRED
        if broken:
            return State.BROKEN_RELEASE
        if self.problem is not None or self.checked_at is None or now - self.checked_at > stale_after:
            return State.STALE
        return State.FRESH
