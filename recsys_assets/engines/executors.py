"""Functions that Spark's executors run in Python: read columns of Parquet, hash files, write parts, anywhere.

The functions go to the executors by value: there pyarrow must be installed, and this package need not. They carry
names of files and nothing else; credentials are those of the executors' environment.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs, parquet


def filesystem_of(uri: str) -> tuple[Any, str]:
    """Return the file system of a path, a file:// or an s3:// URI, and the path in it.

    Buckets are reached as the environment of the process that asks says (AWS_ENDPOINT_URL, AWS_REGION, credentials
    by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by a profile or the machine's role): no secret is handed on.
    """
    if not uri.startswith("s3://"):
        return fs.LocalFileSystem(), uri.removeprefix("file://")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    scheme, _, host = endpoint.rpartition("://")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    return fs.S3FileSystem(region=region, **options), uri.removeprefix("s3://")


Batches = Iterator[Any]  # of pyarrow.RecordBatch
Job = Callable[[Batches], Batches]  # for DataFrame.mapInArrow: batches of a partition in, batches out

PARTS = "partition int, part string, rows bigint"  # what `writing` returns, as Spark spells a schema
DIGESTS = "file int, digest string"  # what `hashing` returns
_BATCH_ROWS = 1 << 16
_CHUNK = 8 << 20  # bytes asked for at once: a bucket answers each request in tens of milliseconds


class Slice(NamedTuple):
    """One of `of` equal runs of a file's rows, and the place of the file's first row."""

    file: str
    first: int
    number: int = 0
    of: int = 1


def reading(slices: Sequence[Slice], columns: Mapping[str, Any], *, place: str | None) -> Job:
    """Return a job from numbers of slices (one column, int64) to their rows.

    `columns` are read as these types of pyarrow; `place`, if given, is one more column: the place of each row.
    """
    places_of_slices = [(one.file, one.first, one.number, one.of) for one in slices]

    def read(numbers: Batches) -> Batches:
        for asked in numbers:
            for number in _whole_numbers(asked):
                file, first, slice_number, of = places_of_slices[number]
                for start, batch in _batches(file, list(columns), slice_number, of):
                    rows = {name: batch.column(name).cast(kind) for name, kind in columns.items()}
                    if place:
                        rows[place] = pa.array(range(first + start, first + start + len(batch)), pa.int64())
                    yield pa.RecordBatch.from_pydict(rows)

    return read


def hashing(files: Sequence[str]) -> Job:
    """Return a job from numbers of files (one column, int64) to their SHA-256, as `DIGESTS`."""

    def digest(numbers: Batches) -> Batches:
        for asked in numbers:
            found = _whole_numbers(asked)
            digests = [_digest(files[number]) for number in found]
            yield pa.RecordBatch.from_pydict({"file": pa.array(found, pa.int32()), "digest": digests})

    return digest


def writing(folder: str) -> Job:
    """Return a job that writes a partition's rows as one file below `folder` and reports it, as `PARTS`.

    Only what a task reports at its end counts: a file of a task that died, or that ran twice, is reported by nobody.
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
    """Yield the rows of a slice and where they stand; those before it are read as codes, which is soon done."""
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
    found = hashlib.sha256()
    with system.open_input_stream(path) as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _write(part: str, batches: Batches) -> int:
    """Write rows as they come, and return how many; without rows there is no file."""
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
