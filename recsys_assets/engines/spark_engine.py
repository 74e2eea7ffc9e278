"""Spark engine: reads canonical days in the store by Spark or by pyarrow on executors, and writes sorted parts."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import msgspec
import narwhals as nw
import polars as pl
import pyarrow as pa
from pyarrow import parquet

from recsys_assets.engines import executors
from recsys_assets.engines.engine import DAY_STRIDE, EngineOutput, stored_columns
from recsys_assets.engines.libraries import require
from recsys_assets.engines.parts import finished_parts, open_part, read_part, size_of
from recsys_assets.engines.relation import INSTANT, PLACE, Frame, KindRelation
from recsys_assets.engines.spark_session import SparkCluster, connect, discard_if_dead, lost, spark_errors, with_timeout
from recsys_assets.errors import CorruptObjectError

_SLICE_BYTES = 32 << 20  # per task of a canonical day: about 2.5 million events
_MOST_SLICES = 32
_SQL_TYPES: Mapping[str, Any] = {"string": pa.string(), "bigint": pa.int64()}


class WrittenParts(msgspec.Struct, frozen=True):
    """Parts written by executors, in row order, and their total rows."""

    parts: tuple[str, ...]
    rows: int


class SparkFiles(Protocol):
    """File access of Spark. Sessions, frames and rows are those of Spark, classic or Connect."""

    def scan_days(self, spark: Any, days: Sequence[str], columns: Sequence[str]) -> Any:
        """Return the events of canonical days as a Spark frame. PLACE numbers them in canonical order."""
        ...

    def scan_table(self, spark: Any, file: str) -> Any:
        """Return the rows of a Parquet file of strings and integers as a Spark frame."""
        ...

    def write(self, rows: Any, folder: str) -> WrittenParts:
        """Write a sorted frame below `folder` on the executors."""
        ...

    def digests(self, spark: Any, files: Sequence[str]) -> list[str | None]:
        """Return the SHA-256 of files, computed by executors, or None for a missing file."""
        ...


class OwnFiles:
    """Spark's own reader and writer. Executors need no Python. s3:// becomes s3a, which needs hadoop-aws."""

    def scan_days(self, spark: Any, days: Sequence[str], columns: Sequence[str]) -> Any:
        """Scan each day separately with a given schema, because Spark cannot infer it from files with nanoseconds."""
        functions = require("pyspark.sql.functions", extra="spark")
        schema = ", ".join(f"{name} {_sql_type(name)}" for name in stored_columns(columns))
        if INSTANT in columns:  # Spark has no nanosecond timestamps, but can read them as integers
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
        """Scan the file with its own schema."""
        return spark.read.parquet(_hadoop(file))

    def write(self, rows: Any, folder: str) -> WrittenParts:
        """Write parts and the marker file _SUCCESS. Rows are counted while written."""
        sql, functions = require("pyspark.sql", extra="spark"), require("pyspark.sql.functions", extra="spark")
        seen = sql.Observation()
        rows = rows.observe(seen, functions.count(functions.lit(1)).alias("rows"))
        rows.write.parquet(f"{_hadoop(folder)}/rows")
        return WrittenParts(finished_parts(f"{folder}/rows"), int(seen.get["rows"]))

    def digests(self, spark: Any, files: Sequence[str]) -> list[str | None]:
        """Load each file whole on an executor, up to Spark's limit of 2 GB."""
        functions = require("pyspark.sql.functions", extra="spark")
        frames = [spark.read.format("binaryFile").load(_hadoop(file)) for file in files]
        rows = [frame.select(functions.sha2("content", 256).alias("digest")).first() for frame in frames]
        return [row and row["digest"] for row in rows]


class ArrowFiles:
    """pyarrow on the executors: folders and s3://, credentials from their environment, files of any size."""

    def scan_days(self, spark: Any, days: Sequence[str], columns: Sequence[str]) -> Any:
        """Read each day in tasks by size: a day is one row group, which Spark itself would read in one task."""
        types = {name: _sql_type(name) for name in stored_columns(columns)}
        slices = [piece for number, day in enumerate(days) for piece in _slices(day, number * DAY_STRIDE)]
        return self._scan(spark, slices, types, place_column=PLACE)

    def scan_table(self, spark: Any, file: str) -> Any:
        """Read the file in one task. Its schema is read here."""
        with open_part(file) as opened:
            schema = parquet.read_schema(opened)
        types = {field.name: "bigint" if pa.types.is_integer(field.type) else "string" for field in schema}
        return self._scan(spark, [executors.Slice(file, 0)], types, place_column=None)

    def write(self, rows: Any, folder: str) -> WrittenParts:
        """Write a part per partition. Its task reports name and size after success."""
        written = _map(rows, executors.writing(folder), executors.PARTS).collect()
        full = sorted((row["partition"], row["part"]) for row in written if row["rows"])
        return WrittenParts(tuple(part for _, part in full), sum(row["rows"] for row in written))

    def digests(self, spark: Any, files: Sequence[str]) -> list[str | None]:
        """Hash the files in parallel, chunk by chunk."""
        hashed = _map(_numbers(spark, files), executors.hashing(files), executors.DIGESTS).collect()
        digests = {row["file"]: row["digest"] for row in hashed}
        return [digests.get(number) for number in range(len(files))]

    def _scan(
        self, spark: Any, slices: Sequence[executors.Slice], types: Mapping[str, str], *, place_column: str | None
    ) -> Any:
        columns = {name: _SQL_TYPES[sql_type] for name, sql_type in types.items()}
        job = executors.reading(slices, columns, place=place_column)
        schema = {**types, **({place_column: "bigint"} if place_column else {})}
        return _map(_numbers(spark, slices), job, ", ".join(f"{name} {sql_type}" for name, sql_type in schema.items()))


def _sql_type(column: str) -> str:
    return "bigint" if column == INSTANT else "string"


def _slices(day: str, first: int) -> list[executors.Slice]:
    """Cut a day into slices by size, at most `_MOST_SLICES`, because each task also reads the rows before its slice."""
    of = min(1 + size_of(day) // _SLICE_BYTES, _MOST_SLICES)
    return [executors.Slice(day, first, number, of) for number in range(of)]


def _numbers(spark: Any, things: Sequence[object]) -> Any:
    """Return the indices of `things` as a frame, one per partition."""
    return spark.range(0, len(things), 1, len(things))


def _map(frame: Any, job: executors.Job, schema: str) -> Any:
    """Apply a job to a frame. It is pickled by value, because this package is not installed on executors."""
    pickling = require("pyspark.cloudpickle", extra="spark")
    pickling.register_pickle_by_value(executors)
    return frame.mapInArrow(job, schema)


def _hadoop(uri: str) -> str:
    """Return a URI for Hadoop's file systems, with wildcards escaped."""
    path = uri.replace("s3://", "s3a://", 1) if uri.startswith("s3://") else uri
    for character in "\\{}[]*?":
        path = path.replace(character, f"\\{character}")
    return path


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
