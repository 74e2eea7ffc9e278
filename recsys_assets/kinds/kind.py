"""One kind of artifact: its parameters, shape, columns and kernel, and the limits checked before it is built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from recsys_assets.encoding.rows import Built, columns_of_rows
from recsys_assets.encoding.safetensors_codec import COLUMNS as EMBEDDING_COLUMNS
from recsys_assets.errors import ConfigurationError, LimitExceededError
from recsys_assets.events.events import Events
from recsys_assets.kind_descriptions import KindDescription, Shape, VectorShape
from recsys_assets.kinds.params import EventParams, KindParams, choose_events
from recsys_assets.settings.inputs import LimitSettings


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


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of artifact, all that is known of it: description, parameters, kernel, and its form in relations."""

    description: KindDescription  # light: name, shape, words; what serving and reports know of it
    params: type[KindParams]
    event_columns: tuple[str, ...]  # columns of `Events` that the kernel reads; nothing for kinds made of the catalog
    kernel: Callable[[Any, Any], Built]
    definition: str = ""  # `module:name` of its `engines.relation.Definition`, loaded on use; empty: native only
    # Why an artifact of this kind may be without rows, which then is left out of the release; empty text: it refuses.
    may_be_empty: str = ""

    @property
    def name(self) -> str:
        """The name by which configuration and artifacts call it."""
        return self.description.name

    @property
    def shape(self) -> Shape | VectorShape:
        """The shape of its content."""
        return self.description.shape

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """Columns and dtypes of the rows as people see them."""
        return columns_of_rows(self.shape) if isinstance(self.shape, Shape) else EMBEDDING_COLUMNS

    @property
    def row_shape(self) -> Shape:
        """The shape of its rows; `ConfigurationError` for a kind of vectors, which are no rows."""
        if isinstance(self.shape, Shape):
            return self.shape
        raise ConfigurationError(f"{self.name} is a kind of vectors, which has no rows: choose a kind of rows here")

    @property
    def from_catalog(self) -> bool:
        """Whether the kernel reads the catalog's frame instead of events."""
        return not self.event_columns

    def reading(self, params: KindParams) -> "Kind":
        """Return the kind as it reads events with these parameters: some ask for a column more."""
        columns = dict.fromkeys((*self.event_columns, *params.more_columns))
        return replace(self, event_columns=tuple(columns))

    def build(self, source: Events | pl.DataFrame, params: KindParams, limits: LimitSettings) -> Built:
        """Build the rows from the window's events, or from the catalog's rows of the target's surface.

        Raises `LimitExceededError` before any work if the input does not fit.
        """
        check_limits(source, limits)
        if isinstance(source, Events) and isinstance(params, EventParams):
            source = choose_events(source, params)
        return self.kernel(source, params)
