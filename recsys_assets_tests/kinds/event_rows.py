"""Tiny canonical events from rows that a test writes out, and strategies that make them up."""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl
from hypothesis import strategies as st

from recsys_assets.events.events import SCHEMA, Events


class Row(NamedTuple):
    """One event; the order of the fields is that of the canonical sort."""

    ts: int
    user_id: str | None
    session_id: str
    rank: int
    item_id: str
    request_id: str | None = None
    event: str | None = None


def row(ts, user, session, item, event=None):
    return Row(ts, user, session, 0, item, None, event)


def canonical(rows: Iterable[Row]) -> list[Row]:
    """Return distinct rows in canonical order, what is absent first."""
    return sorted(set(rows), key=lambda r: [(value is not None, value or 0) for value in r])


def events_of(rows: Iterable[Row], *, spare_ids: Iterable[str] = ()) -> Events:
    """Return rows as coded events; `spare_ids` stand in every dictionary without an event that names them."""
    rows = canonical(rows)
    columns, ids = {}, {}
    for name, dtype in SCHEMA.items():
        values = [getattr(r, name) for r in rows]
        if dtype == pl.UInt32():
            known = sorted({v for v in values if v is not None} | set(spare_ids))
            codes = {text: code for code, text in enumerate(known)}
            ids[name] = pl.Series(name, known, dtype=pl.String)
            values = [None if v is None else codes[v] for v in values]
        columns[name] = pl.Series(name, values).cast(dtype)
    return Events(pl.DataFrame(columns), ids)


# Few of each, so that they meet; spelled so that JSON, sorting by UTF-16 and trimming would show.
ITEMS = ["a", "b", "c", "i1", "i10", "i2", "\U0001d4b3", "\uff21", 'q"\\<&\u2028>', "\x7f\x01", "é", "\u00e9\u0301"]
USERS = ["u1", "u2", "<u>", "\U0001f600"]
SESSIONS = ["s1", "s2", "s3", "s4", "s5"]
KINDS_OF_EVENT = [None, "click", "purchase", "default"]

event_rows = st.lists(
    st.builds(
        row,
        st.integers(0, 30),
        st.sampled_from([None, *USERS]),
        st.sampled_from(SESSIONS),
        st.sampled_from(ITEMS),
        st.sampled_from(KINDS_OF_EVENT),
    ),
    max_size=60,
)
