"""Sessions of events that came without one: a user's events, cut where nothing came for longer than a gap."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.canonical.columns import Coded, arrow_strings, strings_of
from recsys_assets.canonical.dictionaries import merge_coded
from recsys_assets.errors import InputError
from recsys_assets.raw.part import ABSENT, Strings

_NANOSECONDS_A_MINUTE = 60_000_000_000
_NAME = "%Y-%m-%dT%H:%M:%S%.9fZ"  # of one length, so that two users never share a session


def sessionize(
    columns: Mapping[str, NDArray[Any]], ids: Mapping[str, Strings], *, gap_minutes: float | None
) -> Coded | None:
    """Return the column of sessions with none absent; None if none is, so that nothing has to be changed.

    `columns` holds `ts`, `user_id` and `session_id` as `Events` has them, in any order of rows; `ids` the users and
    the sessions. Of the rows without a session, those of one user follow one another by time, and one that comes more
    than `gap_minutes` after the one before begins a new session, named by the user and the instant of its first row.
    Rows that came with a session keep it, and do not join or cut those of others. So the result is the same for the
    same rows in any order, and a session that spans midnight is one in each day.

    Memory: about 40 bytes for each row without a session, and twice the names of the sessions found. Raises
    `InputError` for rows without a session and a user, and, where `gap_minutes` is None, for any row without a session.
    """
    rows = np.flatnonzero(columns["session_id"] == ABSENT)
    if not len(rows):
        return None
    users = columns["user_id"][rows]
    if gap_minutes is None or (users == ABSENT).any():
        raise InputError(
            "parts hold events without a session, read under another raw.session_gap_minutes: run raw of this day again"
        )
    order = np.lexsort((columns["ts"][rows], users))
    rows, users = rows[order], users[order]
    begins = _beginnings(columns["ts"][rows], users, gap=round(gap_minutes * _NANOSECONDS_A_MINUTE))
    names = _names(ids["user_id"], users[begins], columns["ts"][rows[begins]])
    codes = columns["session_id"].copy()
    codes[rows] = len(ids["session_id"]) + np.cumsum(begins) - 1
    return merge_coded([codes], [_joined(ids["session_id"], names)])


def _beginnings(ts: NDArray[np.int64], users: NDArray[np.uint32], *, gap: int) -> NDArray[np.bool_]:
    """Tell of each row, by user and time, whether it begins a session."""
    begins = np.ones(len(ts), np.bool_)
    np.logical_or(users[1:] != users[:-1], np.diff(ts) > gap, out=begins[1:])
    return begins


def _names(users: Strings, codes: NDArray[np.uint32], ts: NDArray[np.int64]) -> pl.Series:
    """Return the names of sessions that begin at `ts`, by the codes of their users."""
    instants = pl.from_epoch(pl.Series(ts), time_unit="ns").dt.to_string(_NAME)
    named: pl.Series = pl.Series(arrow_strings(users)).gather(codes) + "@" + instants
    return named


def _joined(sent: Strings, found: pl.Series) -> Strings:
    """Return the sessions that were sent, and behind them those that were found; a name may stand twice."""
    return strings_of(pl.concat([pl.Series("session", arrow_strings(sent)), found.alias("session")]).to_arrow())
