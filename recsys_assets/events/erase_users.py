"""Erasure of users' rows from parts and canonical days, including ids used only by these rows."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import Strings
from recsys_assets.events.events import ID_COLUMNS, Events, codes_of
from recsys_assets.ingest.part_merge import ABSENT, Part

IsHidden: TypeAlias = Callable[[str], bool]


def erase_from_part(part: Part, is_hidden: IsHidden) -> Part:
    """Return the part without the rows of hidden users, or the same object if it has none."""
    hidden = _codes(part.ids["user_id"].texts(), is_hidden)
    if not len(hidden):
        return part
    mask = ~np.isin(part.codes["user_id"], hidden)
    codes: dict[str, NDArray[np.uint32]] = {}
    ids: dict[str, Strings] = {}
    for name in ID_COLUMNS:
        column = part.codes[name][mask]
        used = np.unique(column[column != ABSENT])
        codes[name] = np.where(column == ABSENT, ABSENT, np.searchsorted(used, column)).astype(np.uint32)
        texts = part.ids[name].texts()
        ids[name] = Strings.of(texts[code] for code in used.tolist())
    return Part(ts=part.ts[mask], rank=part.rank[mask], codes=codes, ids=ids)


def erase_from_events(events: Events, is_hidden: IsHidden) -> Events:
    """Return the events without the rows of hidden users, or the same object if there are none."""
    hidden = _codes(events.ids["user_id"].to_list(), is_hidden)
    if not len(hidden):
        return events
    left = events.codes.filter(~np.isin(codes_of(events.codes["user_id"]), hidden))
    used = {name: left[name].drop_nulls().unique().sort() for name in ID_COLUMNS if name in left.columns}
    codes = left.with_columns(_recoded(left[name], used[name]) for name in used)
    return Events(codes, _only_used(events.ids, used))


def _codes(users: list[str], is_hidden: IsHidden) -> NDArray[np.uint32]:
    return np.array([code for code, user in enumerate(users) if is_hidden(user)], np.uint32)


def _recoded(codes: pl.Series, used: pl.Series) -> pl.Series:
    """Return codes as positions among the used ones."""
    places = np.searchsorted(used.to_numpy(), codes.fill_null(0).to_numpy()).astype(np.uint32)
    moved: Any = pl.select(pl.when(codes.is_not_null()).then(pl.Series(places))).to_series()
    return moved.alias(codes.name)


def _only_used(ids: Mapping[str, pl.Series], used: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    return {name: ids[name].gather(used[name]) for name in used}
