"""A day cut in two by time: what was known before an instant, and what is held out from it on."""

from datetime import datetime

import polars as pl

from recsys_assets.events.events import ID_COLUMNS, Events


def cut_day(events: Events, *, held_out: float) -> datetime | None:
    """Return the instant from which on about the share `held_out` of a day's events lies; `events` holds `ts`.

    Some events lie before it: where the first instant has more than its share, it is the next one. None if the whole
    day is a single instant, or has no events.
    """
    instants = events.codes["ts"]
    later = instants.filter(instants > instants.min())
    if later.is_empty():
        return None
    return max(instants[min(round(len(instants) * (1 - held_out)), len(instants) - 1)], later[0])


def before(events: Events, instant: datetime) -> Events:
    """Return the events before an instant; ids that only later events have are gone too."""
    codes = events.codes.filter(pl.col("ts") < instant)
    names = [name for name in ID_COLUMNS if name in codes.columns]
    ids = {name: events.ids[name].gather(codes[name].drop_nulls().unique().sort()) for name in names}
    dense = [(pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in names]
    return Events(codes.with_columns(dense), ids)
