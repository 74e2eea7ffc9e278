"""The in-memory form of events that every kernel reads: integer codes that compare like the ids they stand for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

ID_COLUMNS = ("user_id", "session_id", "item_id", "request_id", "event")

SCHEMA: Mapping[str, pl.DataType] = {
    "ts": pl.Datetime("ns", "UTC"),
    "user_id": pl.UInt32(),
    "session_id": pl.UInt32(),
    "rank": pl.Int64(),
    "item_id": pl.UInt32(),
    "request_id": pl.UInt32(),
    "event": pl.UInt32(),
}


@dataclass(frozen=True, slots=True)
class Events:
    """Canonical events of one target, ids as codes.

    `codes`: columns of `SCHEMA` (a subset when fewer were asked for); one row per distinct event, in canonical order;
    `user_id`, `request_id` and `event` are null where absent. `ids[column]`: String series, strictly ascending in
    code-point order, without nulls; code `n` stands for `ids[column][n]`. So comparing codes compares ids.
    """

    codes: pl.DataFrame
    ids: Mapping[str, pl.Series]

    @property
    def size(self) -> int:
        """How many bytes of memory codes and ids take."""
        return int(self.codes.estimated_size() + sum(ids.estimated_size() for ids in self.ids.values()))

    def holds(self, columns: Iterable[str]) -> bool:
        """Return whether all of these columns are there."""
        return set(columns) <= set(self.codes.columns)

    def only(self, columns: Iterable[str]) -> "Events":
        """Return the same rows with those of these columns that are there, sharing their memory."""
        wanted = set(columns)
        codes = self.codes.select(name for name in self.codes.columns if name in wanted)
        return Events(codes, {name: ids for name, ids in self.ids.items() if name in wanted})

    def decoded(self) -> pl.DataFrame:
        """Return the same rows with ids as strings, for people, contracts and tests."""
        return self.codes.with_columns(
            self.ids[name].gather(self.codes[name]).alias(name) for name in ID_COLUMNS if name in self.codes.columns
        )
