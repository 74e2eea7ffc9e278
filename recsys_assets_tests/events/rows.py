"""Rows for tests: events as tuples of plain Python, as parts, and back."""

from hypothesis import strategies as st

from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.ingest.line_reader import RawEvent
from recsys_assets.ingest.part_merge import part_of

MIDNIGHT = 1_767_225_600_000_000_000  # 2026-01-01 in UTC
COLUMNS = ("ts", "user_id", "session_id", "rank", "item_id", "request_id", "event")

_IDS = st.text(st.sampled_from("ab\x00é\U0001f600\uffff "), min_size=1, max_size=3)
ROWS = st.tuples(
    st.integers(MIDNIGHT, MIDNIGHT + 3) | st.integers(MIDNIGHT, MIDNIGHT + 86_400_000_000_000 - 1),
    st.none() | _IDS,
    _IDS,
    st.integers(0, 2) | st.integers(0, 2**63 - 1),
    _IDS,
    st.none() | _IDS,
    st.none() | st.sampled_from(["click", "view"]),
)


def row(ts=0, user="u", session="s", rank=0, item="i", request=None, event=None):
    return (MIDNIGHT + ts, user, session, rank, item, request, event)


def part(rows):
    """Return rows as a part, ids in order of appearance."""
    return part_of([RawEvent(tenant="shop", surface="home", **dict(zip(COLUMNS, row, strict=True))) for row in rows])


def events(rows):
    """Return rows as canonical events."""
    return canonicalize([part(rows)])[0]


def rows_of(found):
    """Return events as tuples again, in their order."""
    frame = found.decoded()
    return list(zip(frame["ts"].to_physical().to_list(), *(frame[name].to_list() for name in COLUMNS[1:]), strict=True))


def in_order(rows):
    """Return distinct rows in canonical order, by the plainest means: the oracle."""
    return sorted(set(rows), key=lambda values: [(value is not None, _bytes(value)) for value in values])


def _bytes(value):
    return value.encode() if isinstance(value, str) else value
