"""Parquet files that engines hand over, in a folder or a bucket: only finished ones, read in bounded pieces."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import fs, parquet

from recsys_assets.engines.places import filesystem_of
from recsys_assets.errors import EngineUnavailableError

BATCH_ROWS = 1 << 16
SUCCESS = "_SUCCESS"


def read_part(source: object, columns: Sequence[str], *, name: str) -> Iterator[pl.DataFrame]:
    """Yield the columns of a Parquet file in pieces of at most `BATCH_ROWS` rows.

    Raises `EngineUnavailableError` if the file is gone or cut short: an engine is asked again, it is never guessed.
    """
    with part_names(name), parquet.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
            yield pl.DataFrame(pl.from_arrow(batch))


@contextmanager
def open_part(part: str) -> Generator[Any]:
    """Open a part by its URI or path."""
    system, path = filesystem_of(part)
    with part_names(part), system.open_input_file(path) as file:
        yield file


def size_of(file: str) -> int:
    """Return how many bytes a file has."""
    system, path = filesystem_of(file)
    with part_names(file):
        return system.get_file_info(path).size or 0


def finished_parts(folder: str) -> tuple[str, ...]:
    """Return the parts of a finished result, in the order of their rows, as paths of `folder`'s kind.

    Raises `EngineUnavailableError` without the mark that the engine sets last: what is there may be half a result.
    """
    system, path = filesystem_of(folder)
    with part_names(folder):
        names = sorted(info.base_name for info in system.get_file_info(fs.FileSelector(path)))
    if SUCCESS not in names:
        raise EngineUnavailableError(f"{folder} has no {SUCCESS}, so it may be half a result: run the day again")
    return tuple(f"{folder}/{name}" for name in names if name.startswith("part-") and name.endswith(".parquet"))


def write_file(uri: str, data: bytes) -> None:
    """Write a file in an attempt's folder, for an engine to read."""
    system, path = filesystem_of(uri)
    with part_names(uri), system.open_output_stream(path) as stream:
        stream.write(data)


@contextmanager
def part_names(name: str) -> Generator[None]:
    """Turn errors of file systems and of Parquet into ours, which name the file and say what to do."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise EngineUnavailableError(
            f"what an engine reads or wrote is not there ({name}: {error}); nothing was shipped: run the day again"
        ) from error
