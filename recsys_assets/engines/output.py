"""Output of an engine: a fresh folder for every attempt, and its rows read back in order, piece by piece."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import polars as pl
from pyarrow import fs

from recsys_assets.encoding.rows import Rows
from recsys_assets.engines.parts import part_names
from recsys_assets.engines.places import filesystem_of
from recsys_assets.engines.relation import KEY, MEMBER, VALUE
from recsys_assets.kind_descriptions import Shape

STALE = timedelta(days=2)  # longer than any job: what is older was left by a process that died


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
