"""Interface of every engine: scan canonical days or a table, and write the rows of a relation in order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import polars as pl

from recsys_assets.engines.relation import PLACE, Frame, KindRelation

DAY_STRIDE = 1 << 40  # PLACE values per day, more than the events of any day


class EngineOutput(msgspec.Struct, frozen=True):
    """Output of an engine: parts in row order, total rows, and counts."""

    parts: tuple[str, ...]  # URIs or paths of Parquet files
    rows: int
    counts: Mapping[str, int]


class Engine(Protocol):
    """Engine that computes relations.

    Every method raises `EngineUnavailableError` if the engine cannot be reached or failed (run again), and
    `ConfigurationError` if its library is not installed or a setting is wrong.
    """

    @property
    def name(self) -> str:
        """Name of the engine in `recsys.toml`."""
        ...

    @property
    def identity(self) -> str:
        """Identity that the canary verifies: version of the library and all settings, without secrets."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether it reads canonical days in the store. Otherwise it gets copies of verified bytes."""
        ...

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first. PLACE numbers them in canonical order.

        All columns are String except PLACE and INSTANT, which are Int64.
        """
        ...

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file written by this package."""
        ...

    def keep(self, frame: Frame) -> Frame:
        """Return a frame for repeated reads, materialised if the engine would compute it repeatedly."""
        ...

    def finish(self, answer: KindRelation, folder: str) -> EngineOutput:
        """Compute a relation, write its rows in order below `folder` (used only by this call), release kept frames."""
        ...

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part of this engine, in order, in bounded batches."""
        ...

    def verify(self, days: Mapping[str, str]) -> None:
        """Raise `CorruptObjectError` if a day's bytes (URI -> digest) do not match its digest. No-op for copies."""
        ...


def stored_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns stored in canonical files: all requested ones except PLACE."""
    return [name for name in columns if name != PLACE]
