"""The verbs of every engine: scan canonical days or a table, and write an answer in order for us to read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from recsys_assets.engines.relation import PLACE, Frame, KindRelation

DAY_STRIDE = 1 << 40  # places of one day: more than any day has events


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """An answer as an engine wrote it: the parts in order, how many rows they hold together, and its counts."""

    parts: tuple[str, ...]  # URIs or paths of Parquet files
    rows: int
    counts: Mapping[str, int]


class Engine(Protocol):
    """Something that computes relations.

    Errors of every verb: `EngineUnavailableError` (it cannot be reached, or gave up: run again), `ConfigurationError`
    (the library is not installed, or a setting is wrong).
    """

    @property
    def name(self) -> str:
        """How it is called in `recsys.toml`."""
        ...

    @property
    def identity(self) -> str:
        """What it is proven as: the library's version and all settings that it runs with, secrets left out."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether it reads canonical days where they are stored; else it is handed copies whose bytes were proven."""
        ...

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first; PLACE counts them through in canonical order.

        All columns are texts but PLACE and INSTANT, which are Int64.
        """
        ...

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file that we wrote."""
        ...

    def keep(self, frame: Frame) -> Frame:
        """Return a frame that is read several times, computed once if this engine would not see that by itself."""
        ...

    def finish(self, answer: KindRelation, folder: str) -> EngineOutput:
        """Compute an answer and write its rows in order below `folder`, which nobody else uses; what was kept goes."""
        ...

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part that this engine wrote, in order, a bounded number at a time."""
        ...

    def verify(self, days: Mapping[str, str]) -> None:
        """Raise `CorruptObjectError` if the bytes of a day, by URI, are not those of its digest; no-op for copies."""
        ...


def stored(columns: Sequence[str]) -> list[str]:
    """Return the columns that stand in a canonical file: all that are asked for but PLACE."""
    return [name for name in columns if name != PLACE]
