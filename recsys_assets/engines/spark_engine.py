"""Spark engine: reads canonical days in the store, and writes sorted parts that are read in order."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import narwhals as nw
import polars as pl

from recsys_assets.engines.engine import EngineOutput
from recsys_assets.engines.libraries import require
from recsys_assets.engines.parts import open_part, read_part
from recsys_assets.engines.relation import Frame, KindRelation
from recsys_assets.engines.spark_files import OwnFiles, SparkFiles
from recsys_assets.engines.spark_session import SparkCluster, connect, discard_if_dead, lost, spark_errors, with_timeout
from recsys_assets.errors import CorruptObjectError


class SparkEngine:
    """Engine that runs definitions as Spark frames. Only counts and names of parts reach the driver."""

    name = "spark"
    in_place = True

    def __init__(
        self,
        cluster: SparkCluster,
        session: Callable[[SparkCluster], Any] = connect,
        *,
        files: SparkFiles | None = None,
    ) -> None:
        self._cluster = cluster
        self._files = files or OwnFiles()
        self._connect = session
        self._persisted: list[Any] = []

    @property
    def identity(self) -> str:
        """Version of the library, cluster, and type of file access."""
        version = require("pyspark", extra="spark").__version__
        return f"pyspark {version} at {self._cluster}, {type(self._files).__name__}"

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first. PLACE numbers them in canonical order."""
        with self._translate_errors() as spark:
            return nw.from_native(self._files.scan_days(spark, days, columns)).lazy().select(*columns)

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file written by this package."""
        with self._translate_errors() as spark:
            return nw.from_native(self._files.scan_table(spark, file)).lazy()

    def keep(self, frame: Frame) -> Frame:
        """Return the frame, whose rows the executors cache in memory or on disk once computed."""
        with self._translate_errors():
            rows: Any = frame.to_native()
            self._persisted.append(rows.persist())
        return frame

    def finish(self, answer: KindRelation, folder: str) -> EngineOutput:
        """Compute a relation. The executors write its rows as sorted parts, and report only finished ones."""
        with self._translate_errors():
            rows: Any = answer.ordered.to_native()
            counts: Any = answer.counts.to_native()
            written = self._files.write(rows, folder)
            counted = counts.first().asDict()
            self._release()
        return EngineOutput(written.parts, written.rows, counted)

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part, in order."""
        with open_part(part) as file:
            yield from read_part(file, columns, name=part)

    def verify(self, days: Mapping[str, str]) -> None:
        """Raise `CorruptObjectError` if the bytes of a day are not those of its digest. Executors hash them."""
        with self._translate_errors() as spark:
            digests = self._files.digests(spark, list(days))
        for (uri, digest), computed in zip(days.items(), digests, strict=True):
            if computed != digest:
                raise CorruptObjectError(f"{uri} does not match its record, or is being rebuilt: build the day again")

    @contextmanager
    def _translate_errors(self) -> Generator[Any]:
        """Yield the session, and turn Spark's errors into `EngineUnavailableError`."""
        spark = self._connect(self._cluster)
        try:
            with with_timeout(self._cluster, spark):
                yield spark
        except spark_errors() as error:
            dead = discard_if_dead(spark, error)
            if not dead:
                with suppress(*spark_errors()):
                    self._release()
            self._persisted.clear()
            # An OSError concerns the driver process of these frames, even if another was started in the meantime.
            raise lost(self._cluster, error, dead=dead or isinstance(error, OSError)) from error

    def _release(self) -> None:
        """Let the executors drop cached rows."""
        while self._persisted:
            self._persisted.pop().unpersist()
