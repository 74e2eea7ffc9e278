"""Rows as an engine wrote them, piece by piece and in order, as the codes that the one encoder takes."""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from recsys_assets.artifacts.rows import Rows, Shape
from recsys_assets.engines.relation import KEY, MEMBER, VALUE


def columns_of(shape: Shape) -> tuple[str, ...]:
    """Return the columns that an engine's rows of this shape have, without those that only order them."""
    return (*((KEY,) if shape.key else ()), MEMBER, *((VALUE,) if shape.value else ()))


def rows_of(batches: Iterable[pl.DataFrame], shape: Shape) -> Iterator[Rows]:
    """Yield pieces of an artifact's rows as they come; a key's list is never parted.

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
