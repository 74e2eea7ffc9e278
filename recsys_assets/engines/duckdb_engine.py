"""DuckDB engine: out of core on one machine, with a memory limit and a folder for spilling."""

import glob
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import narwhals as nw
import polars as pl
from pyarrow import parquet

from recsys_assets.engines.engine import DAY_STRIDE, EngineOutput, stored_columns
from recsys_assets.engines.libraries import require
from recsys_assets.engines.parts import read_part
from recsys_assets.engines.relation import INSTANT, PLACE, Frame, KindRelation
from recsys_assets.errors import EngineUnavailableError


class DuckDbEngine:
    """Engine that runs definitions in one in-memory database, which spills to `scratch` beyond `memory_limit`."""

    name = "duckdb"
    in_place = False

    def __init__(self, *, memory_limit: str | None, threads: int | None, scratch: str) -> None:
        self._settings: dict[str, Any] = {"temp_directory": scratch}
        self._tables: list[str] = []
        if memory_limit:
            self._settings["memory_limit"] = memory_limit
        if threads:
            self._settings["threads"] = threads

    @property
    def identity(self) -> str:
        """Version of the library and its settings."""
        version = require("duckdb", extra="duckdb").__version__
        return f"duckdb {version}, {', '.join(f'{key}={value}' for key, value in sorted(self._settings.items()))}"

    @cached_property
    def _database(self) -> Any:
        duckdb = require("duckdb", extra="duckdb")
        with _translate_errors():
            return duckdb.connect(config=self._settings)

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first. PLACE numbers them in canonical order."""
        names = ", ".join(
            f"epoch_ns({INSTANT}) as {INSTANT}" if name == INSTANT else name for name in stored_columns(columns)
        )
        scans = [
            f"select {names}, file_row_number + {number * DAY_STRIDE} as {PLACE} "  # noqa: S608 - own names, quoted path
            f"from read_parquet({_quoted(day)}, file_row_number = true)"
            for number, day in enumerate(days)
        ]
        with _translate_errors():
            return nw.from_native(self._database.sql(" union all ".join(scans))).lazy().select(*columns)

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file written by this package."""
        with _translate_errors():
            return nw.from_native(self._database.sql(f"from read_parquet({_quoted(file)})")).lazy()

    def keep(self, frame: Frame) -> Frame:
        """Return the frame's rows as a table of the database, which can spill to disk."""
        name = f"kept_{len(self._tables)}"
        self._tables.append(name)
        rows: Any = frame.to_native()
        with _translate_errors():
            rows.create(name)
            return nw.from_native(self._database.table(name)).lazy()

    def finish(self, answer: KindRelation, folder: str) -> EngineOutput:
        """Compute a relation and write its rows as one file."""
        part = f"{folder}/part-0.parquet"
        rows: Any = answer.ordered.to_native()
        counts: Any = answer.counts.to_native()
        with _translate_errors():
            rows.write_parquet(part)
            counted = dict(zip(counts.columns, counts.fetchall()[0], strict=True))
            for name in self._tables:
                self._database.execute(f"drop table {name}")
        self._tables.clear()
        return EngineOutput((part,), parquet.read_metadata(part).num_rows, counted)

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part, in order."""
        return read_part(part, columns, name=part)

    def verify(self, days: Mapping[str, str]) -> None:
        """No-op: this engine reads copies of verified bytes."""


@contextmanager
def _translate_errors() -> Generator[None]:
    """Turn DuckDB's errors into `EngineUnavailableError` with the remedy."""
    duckdb = require("duckdb", extra="duckdb")
    try:
        yield
    except duckdb.Error as error:
        raise EngineUnavailableError(
            f"DuckDB failed: {error}; nothing was shipped: raise engines.duckdb.memory_limit, or set "
            "engines.scratch to a folder with more space, then run the day again"
        ) from error


def _quoted(path: str) -> str:
    """Return a path as an SQL string with wildcards escaped."""
    escaped = glob.escape(path).replace("'", "''")
    return f"'{escaped}'"
