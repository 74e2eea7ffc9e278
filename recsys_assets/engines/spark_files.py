"""Two ways from Spark to files: by Spark's own Parquet reader and writer, or by pyarrow on its executors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from recsys_assets.engines import executors
from recsys_assets.engines.engine import DAY_STRIDE, stored
from recsys_assets.engines.libraries import require
from recsys_assets.engines.parts import finished_parts, open_part, size_of
from recsys_assets.engines.relation import INSTANT, PLACE

_SLICE_BYTES = 32 << 20  # of a canonical day for one task: some 2.5 million events
_MOST_SLICES = 32
_SQL_TYPES: Mapping[str, Any] = {"string": pa.string(), "bigint": pa.int64()}


@dataclass(frozen=True, slots=True)
class WrittenParts:
    """What executors wrote: the parts in the order of their rows, and how many rows they hold together."""

    parts: tuple[str, ...]
    rows: int


class SparkFiles(Protocol):
    """How Spark gets at Parquet files. Sessions, frames and rows are Spark's, classic or Connect."""

    def scan_days(self, spark: Any, days: Sequence[str], columns: Sequence[str]) -> Any:
        """Return the events of canonical days as a frame of Spark; PLACE counts them through in canonical order."""
        ...

    def scan_table(self, spark: Any, file: str) -> Any:
        """Return the rows of a Parquet file of texts and whole numbers as a frame of Spark."""
        ...

    def write(self, rows: Any, folder: str) -> WrittenParts:
        """Let the executors write a sorted frame below `folder`."""
        ...

    def digests(self, spark: Any, files: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of files, computed by executors; None for one that is not there."""
        ...


class OwnFiles:
    """Spark's own reader and writer: executors without Python; s3:// is s3a, which wants hadoop-aws on their path."""

    def scan_days(self, spark: Any, days: Sequence[str], columns: Sequence[str]) -> Any:
        """Scan each day by itself; the schema is given, for Spark refuses to look at files that have nanoseconds."""
        functions = require("pyspark.sql.functions", extra="spark")
        schema = ", ".join(f"{name} {_sql_type(name)}" for name in stored(columns))
        if INSTANT in columns:  # Spark has no nanoseconds: it reads them as whole numbers if it is allowed to
            spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        frames = [
            spark.read.schema(schema)
            .parquet(_hadoop(day))
            .withColumn(PLACE, functions.col("_metadata.row_index") + functions.lit(number * DAY_STRIDE))
            for number, day in enumerate(days)
        ]
        events = frames[0]
        for frame in frames[1:]:
            events = events.unionAll(frame)
        return events

    def scan_table(self, spark: Any, file: str) -> Any:
        """Scan the file with the schema that it has."""
        return spark.read.parquet(_hadoop(file))

    def write(self, rows: Any, folder: str) -> WrittenParts:
        """Write parts and the mark _SUCCESS; rows are counted while they pass."""
        sql, functions = require("pyspark.sql", extra="spark"), require("pyspark.sql.functions", extra="spark")
        seen = sql.Observation()
        rows = rows.observe(seen, functions.count(functions.lit(1)).alias("rows"))
        rows.write.parquet(f"{_hadoop(folder)}/rows")
        return WrittenParts(finished_parts(f"{folder}/rows"), int(seen.get["rows"]))

    def digests(self, spark: Any, files: Sequence[str]) -> list[str | None]:
        """Load each file whole on an executor, which Spark does up to 2 GB."""
        functions = require("pyspark.sql.functions", extra="spark")
        frames = [spark.read.format("binaryFile").load(_hadoop(file)) for file in files]
        rows = [frame.select(functions.sha2("content", 256).alias("digest")).first() for frame in frames]
        return [row and row["digest"] for row in rows]


class ArrowFiles:
    """pyarrow on the executors: folders and s3:// alike, credentials from their environment, files of any size."""

    def scan_days(self, spark: Any, days: Sequence[str], columns: Sequence[str]) -> Any:
        """Read each day in as many tasks as it is large: it is one row group, which Spark itself reads in one."""
        types = {name: _sql_type(name) for name in stored(columns)}
        slices = [piece for number, day in enumerate(days) for piece in _slices(day, number * DAY_STRIDE)]
        return self._scan(spark, slices, types, place=PLACE)

    def scan_table(self, spark: Any, file: str) -> Any:
        """Read the file in one task; its schema is looked up here."""
        with open_part(file) as opened:
            schema = parquet.read_schema(opened)
        types = {field.name: "bigint" if pa.types.is_integer(field.type) else "string" for field in schema}
        return self._scan(spark, [executors.Slice(file, 0)], types, place=None)

    def write(self, rows: Any, folder: str) -> WrittenParts:
        """Write a part for each partition, whose name and size its task reports when it has ended well."""
        written = _map(rows, executors.writing(folder), executors.PARTS).collect()
        full = sorted((row["partition"], row["part"]) for row in written if row["rows"])
        return WrittenParts(tuple(part for _, part in full), sum(row["rows"] for row in written))

    def digests(self, spark: Any, files: Sequence[str]) -> list[str | None]:
        """Hash the files side by side, a piece at a time."""
        hashed = _map(_numbers(spark, files), executors.hashing(files), executors.DIGESTS).collect()
        found = {row["file"]: row["digest"] for row in hashed}
        return [found.get(number) for number in range(len(files))]

    def _scan(
        self, spark: Any, slices: Sequence[executors.Slice], types: Mapping[str, str], *, place: str | None
    ) -> Any:
        columns = {name: _SQL_TYPES[sql_type] for name, sql_type in types.items()}
        job = executors.reading(slices, columns, place=place)
        schema = {**types, **({place: "bigint"} if place else {})}
        return _map(_numbers(spark, slices), job, ", ".join(f"{name} {sql_type}" for name, sql_type in schema.items()))


def _sql_type(column: str) -> str:
    return "bigint" if column == INSTANT else "string"


def _slices(day: str, first: int) -> list[executors.Slice]:
    """Cut a day by its size; each task reads what stands before its slice as well, so that there is a limit."""
    of = min(1 + size_of(day) // _SLICE_BYTES, _MOST_SLICES)
    return [executors.Slice(day, first, number, of) for number in range(of)]


def _numbers(spark: Any, things: Sequence[object]) -> Any:
    """Return the numbers of the things, one in each partition."""
    return spark.range(0, len(things), 1, len(things))


def _map(frame: Any, job: executors.Job, schema: str) -> Any:
    """Return what a job makes of a frame; it travels by value, as this package is not installed on executors."""
    pickling = require("pyspark.cloudpickle", extra="spark")
    pickling.register_pickle_by_value(executors)
    return frame.mapInArrow(job, schema)


def _hadoop(uri: str) -> str:
    """Return a URI as Hadoop's file systems want it, no character of which is a wildcard."""
    path = uri.replace("s3://", "s3a://", 1) if uri.startswith("s3://") else uri
    for character in "\\{}[]*?":
        path = path.replace(character, f"\\{character}")
    return path
