"""Polars as an engine: the relational definitions on this machine, streamed, beside the coded kernels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import narwhals as nw
import polars as pl
from pyarrow import parquet

from recsys_assets.engines.engine import DAY_STRIDE, EngineOutput, stored
from recsys_assets.engines.parts import read_part
from recsys_assets.engines.relation import INSTANT, PLACE, Frame, KindRelation


class PolarsEngine:
    """The definitions as lazy frames; needs nothing that is not installed, and no more disk than the result."""

    name = "polars"
    in_place = False
    identity = f"polars {pl.__version__}"

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first; PLACE counts them through in canonical order."""
        frames = [
            pl.scan_parquet(day, row_index_name=PLACE, glob=False)
            .with_columns(pl.col(PLACE).cast(pl.Int64) + number * DAY_STRIDE, pl.col(INSTANT).to_physical())
            .select(*stored(columns), PLACE)
            for number, day in enumerate(days)
        ]
        return nw.from_native(pl.concat(frames)).select(*columns)

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file that we wrote."""
        return nw.from_native(pl.scan_parquet(file, glob=False))

    def keep(self, frame: Frame) -> Frame:
        """Return the frame as it is: Polars sees what stands twice in one plan."""
        return frame

    def finish(self, answer: KindRelation, folder: str) -> EngineOutput:
        """Compute an answer and write its rows as one file."""
        part = f"{folder}/part-0.parquet"
        rows: Any = answer.ordered.to_native()
        rows.sink_parquet(part)
        counts: Any = answer.counts.to_native()
        return EngineOutput((part,), parquet.read_metadata(part).num_rows, counts.collect().row(0, named=True))

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part, in order."""
        return read_part(part, columns, name=part)

    def verify(self, days: Mapping[str, str]) -> None:
        """Do nothing: this engine reads copies of proven bytes."""
