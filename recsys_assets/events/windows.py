"""Several days as one: what a window longer than a day reads."""

from collections.abc import Sequence

import polars as pl

from recsys_assets.errors import InputError
from recsys_assets.events.columns import codes_of, events_of, strings_of
from recsys_assets.events.dictionaries import merge_coded
from recsys_assets.events.events import ID_COLUMNS, Events


def merge_days(days: Sequence[Events]) -> Events:
    """Return the events of days, oldest first, as one: rows one behind the other, codes of one common dictionary.

    Days are disjoint in time, so that canonical order holds across them. All must hold the same columns, which the
    result holds too. Raises `InputError` for no day at all.
    """
    if not days:
        raise InputError("no day to merge: a window needs at least one")
    if len(days) == 1:
        return days[0]
    frame = pl.concat([day.codes for day in days], rechunk=True)
    columns = {name: frame[name].to_physical().to_numpy() for name in frame.columns if name not in ID_COLUMNS}
    ids = {}
    for name in (name for name in ID_COLUMNS if name in frame.columns):
        codes = [codes_of(day.codes[name]) for day in days]
        coded = merge_coded(codes, [strings_of(day.ids[name].to_arrow()) for day in days])
        columns[name], ids[name] = coded.codes, coded.ids
    return events_of(columns, ids)
