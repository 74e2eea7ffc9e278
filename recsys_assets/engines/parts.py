"""Parquet parts written by engines: only finished ones are read, in bounded pieces and in order."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
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
from recsys_assets.identity import utc_now
from recsys_assets.kind_descriptions import Shape

BATCH_ROWS = 1 << 16
SUCCESS = "_SUCCESS"
STALE = timedelta(days=2)  # longer than any job: older folders were left by crashed processes


def read_part(source: object, columns: Sequence[str], *, name: str) -> Iterator[pl.DataFrame]:
    """Yield the columns of a Parquet file in pieces of at most `BATCH_ROWS` rows.

    Raises `EngineUnavailableError` if the file is missing or truncated.
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
    """Return the size of a file in bytes."""
    system, path = filesystem_of(file)
    with part_names(file):
        return system.get_file_info(path).size or 0


def finished_parts(folder: str) -> tuple[str, ...]:
    """Return the parts of a finished result, in row order, as paths or URIs like `folder`.

    Raises `EngineUnavailableError` without the marker file that the engine writes last: the result may be incomplete.
    """
    system, path = filesystem_of(folder)
    with part_names(folder):
        names = sorted(info.base_name for info in system.get_file_info(fs.FileSelector(path)))
    if SUCCESS not in names:
        raise EngineUnavailableError(f"{folder} has no {SUCCESS}, so the result may be incomplete: run the day again")
    return tuple(f"{folder}/{name}" for name in names if name.startswith("part-") and name.endswith(".parquet"))


def write_file(uri: str, data: bytes) -> None:
    """Write a file in an attempt's folder, for an engine to read."""
    system, path = filesystem_of(uri)
    with part_names(uri), system.open_output_stream(path) as stream:
        stream.write(data)


@contextmanager
def part_names(name: str) -> Generator[None]:
    """Turn errors of file systems and Parquet into `EngineUnavailableError` with the file name and the remedy."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise EngineUnavailableError(
            f"a file of the engine is missing or unreadable ({name}: {error}); nothing was shipped: run the day again"
        ) from error


@contextmanager
def attempt(work: str, name: str) -> Generator[str]:
    """Yield a new folder below `work/name`, and remove it afterwards.

    `work` is a path, a file:// or an s3:// URI. Folders of crashed attempts are removed when they are stale.
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
    oldest = utc_now() - STALE
    with suppress(OSError):
        for info in system.get_file_info(fs.FileSelector(path)):
            if info.mtime is not None and info.mtime < oldest:
                system.delete_dir(info.path)


def columns_of(shape: Shape) -> tuple[str, ...]:
    """Return the columns of an engine's rows of this shape, without columns used only for sorting."""
    return (*((KEY,) if shape.key else ()), MEMBER, *((VALUE,) if shape.value else ()))


def rows_of(batches: Iterable[pl.DataFrame], shape: Shape) -> Iterator[Rows]:
    """Yield pieces of an artifact's rows as they arrive. A key's list is never split.

    Batches have the columns of `columns_of`. Rows are not sorted here: a wrong order from an engine gives another
    version, which the engine gate detects.
    """
    whole = batches if shape.key is None else _whole_lists(batches)
    for batch in whole:
        yield _coded(batch, shape)


def _whole_lists(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield batches that end at the end of a key. An incomplete list is carried over to the next batch."""
    carried: pl.DataFrame | None = None
    for batch in batches:
        rows = batch if carried is None else pl.concat([carried, batch])
        last_list = rows[KEY].rle_id()
        ended = int((last_list != last_list[-1]).sum()) if len(rows) else 0
        carried = rows[ended:]
        if ended:
            yield rows[:ended]
    if carried is not None and len(carried):
        yield carried


def _coded(batch: pl.DataFrame, shape: Shape) -> Rows:
    """Return a batch as rows, with its own ascending dictionaries."""
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
