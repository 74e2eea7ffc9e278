"""View of a reader: what it serves, where that came from, and how looking for something newer went."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from recsys_assets.errors import (
    ConfigurationError,
    CorruptObjectError,
    NotFoundError,
    RecsysAssetsError,
    StoreUnavailableError,
)
from recsys_assets.identity import Target
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.state import Problem, State, Status

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
