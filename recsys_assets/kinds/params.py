"""Parameters that every kind has in `recsys.toml`: the bounds that its rows keep, and which events count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from recsys_assets.errors import LimitExceededError
from recsys_assets.events.events import Events
from recsys_assets.settings.artifacts import EngineName
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.model import ClosedModel
from recsys_assets.sharding import MAX_SHARDS, OVER_MAX_BYTES

MAX_BYTES = 10_000_000  # the reference service refuses larger blobs, and then fails whole requests


KEY_BYTES, MEMBER_BYTES = 24, 28  # of a row in JSON, with ids of some ten characters and numbers
EVENT = "event"
WITHOUT_KIND = ""  # no event has an empty kind: this names those that have none


@dataclass(frozen=True, slots=True)
class Promise:
    """Bounds that rows built with some parameters keep; `contracts` adds what follows from their shape."""

    max_lists: int | None = None
    max_members: int | None = None  # of one list
    least: int = 1  # smallest value, in units of 1 / scale
    others: bool = False  # keys and members are of one sort, and none is its own member
    pairs: bool = False  # such pairs are in the lists of both
    lower_case: bool = False  # members are
    dimensions: int | None = None  # of every vector
    max_vectors: Mapping[str, int] = field(default_factory=dict[str, int])  # by the column of ids


@dataclass(frozen=True, slots=True)
class TuningGrid:
    """What `tune` tries of a kind of neighbours: ways to score them, then, of the best, one setting after the other."""

    scores: tuple[Mapping[str, object], ...]
    steps: Mapping[str, tuple[object, ...]]  # values by setting, in the order in which settings are varied


class KindParams(ClosedModel):
    """Parameters of one kind."""

    window_days: int = Field(
        default=28, ge=1, le=366, description="days of events that go in, ending with the partition's"
    )
    min_days: int = Field(default=1, ge=0, description="fewest days of the window that must have events")
    max_bytes: int = Field(
        default=MAX_BYTES,
        ge=1,
        description="largest blob; over it a list for everybody is cut, and of other kinds nothing is built but shards",
    )
    # Not part of what is dumped: who computes an artifact is no limit that gates judge it by.
    engine: EngineName | None = Field(
        default=None, exclude=True, description="what computes this kind: native, polars, duckdb or spark"
    )
    # Nor in how many objects it is stored: gates judge all its rows together.
    shards: Literal["never", "over_max_bytes"] | Annotated[int, Field(ge=1, le=MAX_SHARDS)] = Field(
        default=OVER_MAX_BYTES,
        exclude=True,
        description="never: one object, at most max_bytes; over_max_bytes: once that is not enough, as many as leave "
        "each half full; or a number of them, always; for kinds whose rows have a key",
    )
    single_blob: bool = Field(
        default=True,
        exclude=True,
        description="with a number of shards: also the one object, for services that know no shards, where it fits "
        "max_bytes; without it those get nothing",
    )

    @property
    def aged(self) -> bool:
        """Whether it matters how old a day of the window is."""
        return False

    @property
    def more_columns(self) -> tuple[str, ...]:
        """Columns of events that are read beside the kind's own."""
        return ()

    @property
    def native_only(self) -> str:
        """Which settings only the native engine knows; empty if any engine can build the kind so."""
        return ""

    @property
    def promise(self) -> Promise:
        """What rows built with these parameters keep."""
        return Promise()

    @property
    def row_bytes(self) -> int:
        """Bytes of a full row with ids of a usual length, of a kind whose rows `max_items` bounds; 0 of any other."""
        return 0


class EventParams(KindParams):
    """Parameters of every kind that is built from events."""

    events: tuple[str, ...] = Field(
        default=(),
        description='which events count, by their `event` value ("" are those without one); empty: all of them',
    )

    @field_validator("events")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Sort them: the order in which they are written is no other setting."""
        return tuple(sorted(set(value)))

    @property
    def more_columns(self) -> tuple[str, ...]:
        """Columns that are read beside the kind's own."""
        return (EVENT,) if self.events else ()

    @property
    def native_only(self) -> str:
        """The choice of events."""
        return "events" if self.events else ""


def choose_events(events: Events, params: EventParams) -> Events:
    """Return the events that count, in their order; the very same ones if all do."""
    if not params.events:
        return events
    wanted = np.isin(events.ids[EVENT].to_numpy(), [*params.events])
    kinds = pl.Series(np.append(np.flatnonzero(wanted), -1), dtype=pl.Int64)
    found = pl.col(EVENT).cast(pl.Int64).is_in(kinds.implode())
    if WITHOUT_KIND in params.events:
        found = found | pl.col(EVENT).is_null()
    return Events(events.codes.filter(found.fill_null(value=False)), events.ids)


def check_limits(source: Events | pl.DataFrame, limits: LimitSettings) -> None:
    """Raise `LimitExceededError` naming the number and the setting if events or catalog are too many."""
    if isinstance(source, pl.DataFrame):
        _check(source.height, limits.max_distinct_items, what="catalog rows", setting="max_distinct_items")
        return
    _check(source.codes.height, limits.max_events, what="events", setting="max_events")
    _check(_distinct(source, "item_id"), limits.max_distinct_items, what="distinct items", setting="max_distinct_items")
    _check(_distinct(source, "session_id"), limits.max_sessions, what="distinct sessions", setting="max_sessions")
    _check(_distinct(source, "user_id"), limits.max_users, what="distinct users", setting="max_users")


def _distinct(events: Events, column: str) -> int:
    return len(events.ids.get(column, pl.Series(dtype=pl.String)))


def _check(found: int, limit: int, *, what: str, setting: str) -> None:
    if found > limit:
        raise LimitExceededError(
            f"there are {found:,} {what}, limits.{setting} allows {limit:,}: "
            f"raise limits.{setting} if memory allows, or shorten the window (window_days)"
        )
