"""Python functions for Spark executors: read Parquet columns, hash files, and write parts, in folders or buckets.

The functions are sent to the executors by value: pyarrow must be installed there, but not this package. They contain
only names of files. Credentials come from the environment of the executors.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs, parquet


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return the file system of a path, file:// or s3:// URI, and the path in it.

    Buckets are accessed by the environment of the calling process (AWS_ENDPOINT_URL, AWS_REGION, and credentials from
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or the machine's role), so that no secret is passed on.
    """
    if not uri.startswith("s3://"):
        return fs.LocalFileSystem(), uri.removeprefix("file://")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    scheme, _, host = endpoint.rpartition("://")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    return fs.S3FileSystem(region=region, **options), uri.removeprefix("s3://")


Batches = Iterator[Any]  # iterator of pyarrow.RecordBatch
Job = Callable[[Batches], Batches]  # function for DataFrame.mapInArrow: batches of a partition in, batches out

PARTS = "partition int, part string, rows bigint"  # Spark schema of the results of `writing`
DIGESTS = "file int, digest string"  # Spark schema of the results of `hashing`
_BATCH_ROWS = 1 << 16
_CHUNK = 8 << 20  # bytes per request, because each request to a bucket takes tens of milliseconds


class Slice(NamedTuple):
    """Slice `number` of `of` equal slices of a file's rows. `first` is the PLACE of the file's first row."""

    file: str
    first: int
    number: int = 0
    of: int = 1


def reading(slices: Sequence[Slice], columns: Mapping[str, Any], *, place: str | None) -> Job:
    """Return a job from slice numbers (one int64 column) to the rows of the slices.

    `columns` maps names to pyarrow types. `place`, if given, names an additional column with the place of each row.
    """
    fields = [(part.file, part.first, part.number, part.of) for part in slices]

    def read(numbers: Batches) -> Batches:
        for requested in numbers:
            for number in _whole_numbers(requested):
                file, first, slice_number, of = fields[number]
                for start, batch in _batches(file, list(columns), slice_number, of):
                    rows = {name: batch.column(name).cast(kind) for name, kind in columns.items()}
                    if place:
                        rows[place] = pa.array(range(first + start, first + start + len(batch)), pa.int64())
                    yield pa.RecordBatch.from_pydict(rows)

    return read


def hashing(files: Sequence[str]) -> Job:
    """Return a job from file numbers (one int64 column) to their SHA-256, with schema `DIGESTS`."""

    def digest(numbers: Batches) -> Batches:
        for requested in numbers:
            file_numbers = _whole_numbers(requested)
            digests = [_digest(files[number]) for number in file_numbers]
            yield pa.RecordBatch.from_pydict({"file": pa.array(file_numbers, pa.int32()), "digest": digests})

    return digest


def writing(folder: str) -> Job:
    """Return a job that writes a partition's rows as one file below `folder`, and reports it with schema `PARTS`.

    Only files reported by successful tasks count. Files of tasks that died or ran twice are not reported.
    """

    def write(batches: Batches) -> Batches:
        from pyspark import TaskContext  # noqa: PLC0415 - on an executor; this module is imported without Spark too

        task: Any = TaskContext.get()
        number = task.partitionId()
        part = f"{folder}/part-{number:05d}-{uuid4().hex}.parquet"
        rows = _write(part, batches)
        written = {"partition": pa.array([number], pa.int32()), "part": [part], "rows": pa.array([rows], pa.int64())}
        yield pa.RecordBatch.from_pydict(written)

    return write


def _whole_numbers(batch: Any) -> list[int]:
    return batch.column(0).to_pylist()


def _batches(file: str, columns: list[str], number: int, of: int) -> Iterator[tuple[int, Any]]:
    """Yield (row number, batch) of a slice. Rows before it are read as dictionary codes, which is fast."""
    system, path = filesystem_of(file)
    with (
        system.open_input_file(path) as opened,
        parquet.ParquetFile(opened, buffer_size=_CHUNK, read_dictionary=columns) as source,
    ):
        rows = source.metadata.num_rows
        low, high = rows * number // of, rows * (number + 1) // of
        start = 0
        for batch in source.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
            at, end = max(low, start), min(high, start + len(batch))
            if at < end:
                yield at, batch.slice(at - start, end - at)
            start += len(batch)
            if start >= high:
                return


def _digest(file: str) -> str:
    system, path = filesystem_of(file)
    digest = hashlib.sha256()
    with system.open_input_stream(path) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write(part: str, batches: Batches) -> int:
    """Write batches as they arrive, and return the number of rows. Without rows no file is written."""
    rows, writer = 0, None
    system, path = filesystem_of(part)
    try:
        for batch in batches:
            if batch.num_rows:
                writer = writer or parquet.ParquetWriter(path, batch.schema, filesystem=system)
                writer.write_batch(batch)
                rows += batch.num_rows
    finally:
        if writer:
            writer.close()
    return rows
