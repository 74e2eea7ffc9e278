"""Spark as an engine: it reads canonical days where they are stored, and writes sorted parts that we read in order."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import narwhals as nw
import polars as pl

from recsys_assets.engines.engine import DAY_STRIDE, Finished, stored
from recsys_assets.engines.libraries import require
from recsys_assets.engines.parts import finished_parts, open_part, read_part
from recsys_assets.engines.relation import PLACE, Answer, Frame
from recsys_assets.engines.spark_session import SparkCluster, connect, let_go_if_dead, lost, patiently, spark_errors
from recsys_assets.errors import CorruptObjectError


class SparkEngine:
    """The definitions as Spark frames. Nothing but counts and the names of parts ever comes to the driver."""

    name = "spark"
    in_place = True

    def __init__(self, cluster: SparkCluster, session: Callable[[SparkCluster], Any] = connect) -> None:
        self._cluster = cluster
        self._connect = session
        self._kept: list[Any] = []

    @property
    def identity(self) -> str:
        """The library's version and the cluster."""
        return f"pyspark {require('pyspark', extra='spark').__version__} at {self._cluster}"

    def scan_days(self, days: Sequence[str], columns: Sequence[str]) -> Frame:
        """Return the events of canonical days, oldest first; PLACE counts them through in canonical order.

        The schema is told, not inferred: Spark knows no nanoseconds, and refuses to look at files that have them.
        """
        functions = require("pyspark.sql.functions", extra="spark")
        schema = ", ".join(f"{name} string" for name in stored(columns))
        with self._told() as spark:
            frames = [
                spark.read.schema(schema)
                .parquet(_hadoop(day))
                .withColumn(PLACE, functions.col("_metadata.row_index") + functions.lit(number * DAY_STRIDE))
                for number, day in enumerate(days)
            ]
            events = frames[0]
            for frame in frames[1:]:
                events = events.unionAll(frame)
            return nw.from_native(events).lazy().select(*columns)

    def scan_table(self, file: str) -> Frame:
        """Return the rows of a Parquet file that we wrote."""
        with self._told() as spark:
            return nw.from_native(spark.read.parquet(_hadoop(file))).lazy()

    def keep(self, frame: Frame) -> Frame:
        """Return the frame, whose rows the executors keep in memory or on disk once they have them."""
        rows: Any = frame.to_native()
        self._kept.append(rows.persist())
        return frame

    def finish(self, answer: Answer, folder: str) -> Finished:
        """Compute an answer; the executors write its rows as sorted parts, and only finished ones are told."""
        sql = require("pyspark.sql", extra="spark")
        functions = require("pyspark.sql.functions", extra="spark")
        written = sql.Observation()
        rows: Any = answer.ordered.to_native()
        counts: Any = answer.counts.to_native()
        with self._told():
            rows = rows.observe(written, functions.count(functions.lit(1)).alias("rows"))
            rows.write.parquet(f"{_hadoop(folder)}/rows")
            told = counts.first().asDict()
            for kept in self._kept:
                kept.unpersist()
        self._kept.clear()
        return Finished(finished_parts(f"{folder}/rows"), int(written.get["rows"]), told)

    def read(self, part: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of a part, in order."""
        with open_part(part) as file:
            yield from read_part(file, columns, name=part)

    def verify(self, days: Mapping[str, str]) -> None:
        """Raise `CorruptObjectError` if the bytes of a day are not those of its digest; executors hash them."""
        functions = require("pyspark.sql.functions", extra="spark")
        for uri, digest in days.items():
            with self._told() as spark:
                file = spark.read.format("binaryFile").load(_hadoop(uri))
                found = file.select(functions.sha2("content", 256).alias("digest")).first()
            if found is None or found["digest"] != digest:
                raise CorruptObjectError(f"{uri} is not what its record says, or is being rebuilt: build the day again")

    @contextmanager
    def _told(self) -> Generator[Any]:
        """Hand out the session, and turn what Spark says of its own failures into ours."""
        spark = self._connect(self._cluster)
        try:
            with patiently(self._cluster, spark):
                yield spark
        except spark_errors() as error:
            let_go_if_dead(spark)
            raise lost(self._cluster, error) from error


def _hadoop(uri: str) -> str:
    """Return a URI as Hadoop's file systems want it, no character of which is a wildcard."""
    path = uri.replace("s3://", "s3a://", 1) if uri.startswith("s3://") else uri
    for character in "\\{}[]*?":
        path = path.replace(character, f"\\{character}")
    return path
