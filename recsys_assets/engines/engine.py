"""Interface of every engine, and the engine that runs relational definitions by Polars on this machine, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import narwhals as nw
import polars as pl
from pyarrow import parquet

from recsys_assets.engines.parts import read_part
from recsys_assets.engines.relation import INSTANT, PLACE, Frame, KindRelation

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


class PolarsEngine:
    """Engine that runs definitions as lazy frames. Needs no additional library, and disk only for the result."""

    name = "polars"
    in_place = False
    identity = f"polars {pl.__version__}"

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first. PLACE numbers them in canonical order."""
        frames = [
            pl.scan_parquet(day, row_index_name=PLACE, glob=False)
            .with_columns(pl.col(PLACE).cast(pl.Int64) + number * DAY_STRIDE, pl.col(INSTANT).to_physical())
            .select(*stored_columns(columns), PLACE)
            for number, day in enumerate(days)
        ]
        return nw.from_native(pl.concat(frames)).select(*columns)

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file written by this package."""
        return nw.from_native(pl.scan_parquet(file, glob=False))

    def keep(self, frame: Frame) -> Frame:
        """Return the frame unchanged: Polars eliminates common subplans itself."""
        return frame

    def finish(self, answer: KindRelation, folder: str) -> EngineOutput:
        """Compute a relation and write its rows as one file."""
        part = f"{folder}/part-0.parquet"
        rows: Any = answer.ordered.to_native()
        rows.sink_parquet(part)
        counts: Any = answer.counts.to_native()
        return EngineOutput((part,), parquet.read_metadata(part).num_rows, counts.collect().row(0, named=True))

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part, in order."""
        return read_part(part, columns, name=part)

    def verify(self, days: Mapping[str, str]) -> None:
        """No-op: this engine reads copies of verified bytes."""
