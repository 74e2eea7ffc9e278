"""The limits that protect memory, checked before any work is done."""

import polars as pl

from recsys_assets.canonical.events import Events
from recsys_assets.config.inputs import LimitSettings
from recsys_assets.errors import LimitExceededError


def check_limits(source: Events | pl.DataFrame, limits: LimitSettings) -> None:
    """Raise `LimitExceededError` naming the number and the knob if events or catalog are too many."""
    if isinstance(source, pl.DataFrame):
        _check(source.height, limits.max_distinct_items, what="catalog rows", knob="max_distinct_items")
        return
    _check(source.codes.height, limits.max_events, what="events", knob="max_events")
    _check(_distinct(source, "item_id"), limits.max_distinct_items, what="distinct items", knob="max_distinct_items")
    _check(_distinct(source, "user_id"), limits.max_users, what="distinct users", knob="max_users")


def _distinct(events: Events, column: str) -> int:
    return len(events.ids.get(column, pl.Series(dtype=pl.String)))


def _check(found: int, limit: int, *, what: str, knob: str) -> None:
    if found > limit:
        raise LimitExceededError(
            f"there are {found:,} {what}, limits.{knob} allows {limit:,}: "
            f"raise limits.{knob} if memory allows, or shorten the window (window_days)"
        )
