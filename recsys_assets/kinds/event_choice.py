"""Choice of the kinds of events that count for an artifact: a table of purchases alone beside one of all views."""

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from recsys_assets.events.events import Events
from recsys_assets.kinds.params import KindParams

EVENT = "event"
WITHOUT_KIND = ""  # no event has an empty kind: this names those that have none


class EventParams(KindParams):
    """Parameters of every kind that is made of events."""

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
