"""Polars engine: runs the relational definitions on this machine, streamed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl
from pyarrow import parquet

from recsys_assets.engines.engine import DAY_STRIDE, EngineOutput, stored_columns
from recsys_assets.engines.parts import read_part
from recsys_assets.engines.relation import INSTANT, PLACE, Frame, KindRelation


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
