"""Parquet files that engines hand over: only finished ones, read in bounded pieces, an answer's rows in order."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import fs, parquet

from recsys_assets.encoding.rows import Rows
from recsys_assets.engines.executors import filesystem_of
from recsys_assets.engines.relation import KEY, MEMBER, VALUE
from recsys_assets.errors import EngineUnavailableError
from recsys_assets.kind_descriptions import Shape

BATCH_ROWS = 1 << 16
SUCCESS = "_SUCCESS"
STALE = timedelta(days=2)  # longer than any job: what is older was left by a process that died


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


@contextmanager
def attempt(work: str, name: str) -> Generator[str]:
    """Yield a folder below `work/name` that no other attempt uses, and remove it afterwards, whatever happened.

    `work` is a path, a file:// or an s3:// URI. Folders of attempts that never ended are removed when they are stale.
    """
    parent = f"{work.rstrip('/')}/{name}"
    folder = f"{parent}/{uuid4().hex}"
    system, path = filesystem_of(folder)
    with part_names(folder):
        system.create_dir(path, recursive=True)
    _sweep(parent)
    try:
        yield folder
    finally:
        with suppress(OSError):
            system.delete_dir(path)


def _sweep(parent: str) -> None:
    system, path = filesystem_of(parent)
    oldest = datetime.now(UTC) - STALE
    with suppress(OSError):
        for info in system.get_file_info(fs.FileSelector(path)):
            if info.mtime is not None and info.mtime < oldest:
                system.delete_dir(info.path)


def columns_of(shape: Shape) -> tuple[str, ...]:
    """Return the columns that an engine's rows of this shape have, without those that only order them."""
    return (*((KEY,) if shape.key else ()), MEMBER, *((VALUE,) if shape.value else ()))


def rows_of(batches: Iterable[pl.DataFrame], shape: Shape) -> Iterator[Rows]:
    """Yield pieces of an artifact's rows as they come; a key's list is never split.

    Batches have the columns of `columns_of`. Nothing is put in order here: rows that an engine gave in another order
    give another version, which is how the gate finds out.
    """
    whole = batches if shape.key is None else _whole_lists(batches)
    for batch in whole:
        yield _coded(batch, shape)


def _whole_lists(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield batches that end where a key ends; what follows the last whole list waits for the next batch."""
    waiting: pl.DataFrame | None = None
    for batch in batches:
        rows = batch if waiting is None else pl.concat([waiting, batch])
        last_list = rows[KEY].rle_id()
        ended = int((last_list != last_list[-1]).sum()) if len(rows) else 0
        waiting = rows[ended:]
        if ended:
            yield rows[:ended]
    if waiting is not None and len(waiting):
        yield waiting


def _coded(batch: pl.DataFrame, shape: Shape) -> Rows:
    """Return a batch with ids as positions in ascending dictionaries of its own."""
    entries = batch.drop_nulls(MEMBER)
    member_ids = entries[MEMBER].unique().sort()
    key_ids, keys, offsets = pl.Series(dtype=pl.String), np.empty(0, np.uint32), np.array([0, len(entries)])
    if shape.key:
        lists = batch.select(KEY, pl.col(KEY).rle_id().alias("list"), filled=pl.col(MEMBER).is_not_null())
        sizes = lists.group_by("list", maintain_order=True).agg(pl.col(KEY).first(), pl.col("filled").sum())
        key_ids = sizes[KEY].unique().sort()
        keys = _codes(sizes[KEY], key_ids)
        offsets = np.cumsum([0, *sizes["filled"]], dtype=np.int64)
    return Rows(
        shape=shape,
        keys=keys,
        offsets=offsets,
        members=_codes(entries[MEMBER], member_ids),
        values=entries[VALUE].to_numpy() if shape.value else np.zeros(len(entries), np.int64),
        key_ids=key_ids,
        member_ids=member_ids,
    )


def _codes(texts: pl.Series, ids: pl.Series) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return ids.search_sorted(texts).cast(pl.UInt32).to_numpy()
