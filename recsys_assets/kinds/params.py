"""Parameters of all kinds in `recsys.toml`, the bounds of their rows, and the choice of events."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np
import polars as pl
from pydantic import Field, field_validator

from recsys_assets.artifact_format import MAX_SHARDS, OVER_MAX_BYTES
from recsys_assets.errors import LimitExceededError
from recsys_assets.events.events import Events
from recsys_assets.settings.artifacts import EngineName
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.model import ClosedModel

MAX_BYTES = 10_000_000  # the reference service rejects larger blobs, and then fails whole requests
KEY_BYTES, MEMBER_BYTES = 24, 28  # bytes of a row in JSON, with ids of about ten characters and numbers
EVENT = "event"
WITHOUT_KIND = ""  # Stands for events without a kind. A kind is never empty.


class Promise(msgspec.Struct, frozen=True):
    """Bounds of the rows that are built with some parameters. `contracts` adds the rules of their shape."""

    max_lists: int | None = None
    max_members: int | None = None  # per list
    least: int = 1  # smallest value, in units of 1 / scale
    others: bool = False  # keys and members are the same type of id, and no key is its own member
    pairs: bool = False  # a pair is in the lists of both items, with the same value
    lower_case: bool = False  # members are lower-case
    dimensions: int | None = None  # length of every vector
    max_vectors: Mapping[str, int] = msgspec.field(default_factory=dict[str, int])  # limit by column of ids


class TuningGrid(msgspec.Struct, frozen=True):
    """Search space of `tune` for a kind of neighbours: all scorings, then for the best one setting after another."""

    scores: tuple[Mapping[str, object], ...]
    steps: Mapping[str, tuple[object, ...]]  # values by setting, in the order of the search


class KindParams(ClosedModel):
    """Parameters of a kind."""

    window_days: int = Field(
        default=28, ge=1, le=366, description="days of events in the window, which ends with the day of the partition"
    )
    min_days: int = Field(default=1, ge=0, description="minimum days of the window with events")
    max_bytes: int = Field(
        default=MAX_BYTES,
        ge=1,
        description="maximum bytes of a blob; a larger list for all users is cut, other kinds need shards",
    )
    # Excluded from dumps: the engine is not a limit of a gate.
    engine: EngineName | None = Field(
        default=None, exclude=True, description="engine that computes this kind: native, polars, duckdb or spark"
    )
    # Excluded too: gates judge all rows together, whatever the number of objects.
    shards: Literal["never", "over_max_bytes"] | Annotated[int, Field(ge=1, le=MAX_SHARDS)] = Field(
        default=OVER_MAX_BYTES,
        exclude=True,
        description="`never`: one object of at most max_bytes; `over_max_bytes`: if one is not enough, as many shards "
        "as leave each half full; a number: always that number of shards; only for kinds whose rows have a key",
    )
    single_blob: bool = Field(
        default=True,
        exclude=True,
        description="with a number of shards: also store the single object, if it fits into max_bytes, for services "
        "that do not support shards",
    )

    @property
    def aged(self) -> bool:
        """Whether the result depends on the age of the days."""
        return False

    @property
    def more_columns(self) -> tuple[str, ...]:
        """Columns of events that are read in addition to the kind's own."""
        return ()

    @property
    def native_only(self) -> str:
        """Names of the settings in use that only the native engine supports, empty if there are none."""
        return ""

    @property
    def promise(self) -> Promise:
        """The bounds of rows that are built with these parameters."""
        return Promise()

    @property
    def row_bytes(self) -> int:
        """Bytes of a full row with ids of usual length, for kinds with at most `max_items` rows, 0 for others."""
        return 0


class EventParams(KindParams):
    """Parameters of the kinds that are built from events."""

    events: tuple[str, ...] = Field(
        default=(),
        description='`event` values of the events to use ("" for events without one); empty: all events',
    )

    @field_validator("events")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Sort the values and drop duplicates, because their order has no meaning."""
        return tuple(sorted(set(value)))

    @property
    def more_columns(self) -> tuple[str, ...]:
        """Columns that are read in addition to the kind's own."""
        return (EVENT,) if self.events else ()

    @property
    def native_only(self) -> str:
        """Names of the settings in use that only the native engine supports."""
        return "events" if self.events else ""


def choose_events(events: Events, params: EventParams) -> Events:
    """Return the events that `params.events` chooses, in their order. If that is empty, returns the same object."""
    if not params.events:
        return events
    wanted = np.isin(events.ids[EVENT].to_numpy(), [*params.events])
    kinds = pl.Series(np.append(np.flatnonzero(wanted), -1), dtype=pl.Int64)
    chosen = pl.col(EVENT).cast(pl.Int64).is_in(kinds.implode())
    if WITHOUT_KIND in params.events:
        chosen = chosen | pl.col(EVENT).is_null()
    return Events(events.codes.filter(chosen.fill_null(value=False)), events.ids)


def check_limits(source: Events | pl.DataFrame, limits: LimitSettings) -> None:
    """Raise `LimitExceededError` with the number and the setting if the events or the catalog are too large."""
    if isinstance(source, pl.DataFrame):
        _check(source.height, limits.max_distinct_items, subject="catalog rows", setting="max_distinct_items")
        return
    _check(source.codes.height, limits.max_events, subject="events", setting="max_events")
    _check(
        _distinct(source, "item_id"), limits.max_distinct_items, subject="distinct items", setting="max_distinct_items"
    )
    _check(_distinct(source, "session_id"), limits.max_sessions, subject="distinct sessions", setting="max_sessions")
    _check(_distinct(source, "user_id"), limits.max_users, subject="distinct users", setting="max_users")


def _distinct(events: Events, column: str) -> int:
    return len(events.ids.get(column, pl.Series(dtype=pl.String)))


def _check(count: int, limit: int, *, subject: str, setting: str) -> None:
    if count > limit:
        raise LimitExceededError(
            f"there are {count:,} {subject}, limits.{setting} allows {limit:,}: "
            f"raise limits.{setting} if memory allows, or shorten the window (window_days)"
        )
