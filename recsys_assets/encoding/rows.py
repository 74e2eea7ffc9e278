"""The rows of an artifact as integers: what kernels return, contracts judge and the codec turns into bytes and back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.evidence import Scalar
from recsys_assets.kind_descriptions import Shape

_ITEM = "item_id"


def columns_of_rows(shape: Shape) -> Mapping[str, pl.DataType]:
    """Return columns and dtypes of the `Rows.frame` of a shape."""
    key = {shape.key: pl.String()} if shape.key else {}
    value = {shape.value: pl.Int64() if shape.scale == 1 else pl.Float64()} if shape.value else {}
    return {**key, shape.column: pl.String(), **value}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Lists of coded members, each under a coded key.

    List `n` belongs to `keys[n]` (u32) and is `members[offsets[n] : offsets[n + 1]]` (u32) with `values` (i64)
    beside; a shape without a key has one list and no keys, a shape without a value only zeros for values. Codes are
    positions in `key_ids` and `member_ids`: String series, strictly ascending, without nulls; they may hold ids that no
    row names.
    """

    shape: Shape
    keys: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    members: NDArray[np.uint32]
    values: NDArray[np.int64]
    key_ids: pl.Series
    member_ids: pl.Series

    def __len__(self) -> int:
        """Return how many objects the body's array has: keys, or members of the only list."""
        return len(self.keys) if self.shape.key else len(self.members)

    def head(self, count: int) -> "Rows":
        """Return the first members of the only list; of a shape without a key."""
        members, values = self.members[:count], self.values[:count]
        return replace(self, offsets=np.array([0, len(members)]), members=members, values=values)

    def frame(self) -> pl.DataFrame:
        """Return one row per member, in the artifact's order, with ids as strings and values as people read them.

        A key whose list is empty has one row with nulls beside it.
        """
        shape = self.shape
        columns: dict[str, pl.Series] = {shape.column: self.member_ids.gather(pl.Series(self.members))}
        if shape.value:
            # numpy divides; Polars multiplies by the reciprocal, which is off by a bit for some scores.
            columns[shape.value] = pl.Series(self.values if shape.scale == 1 else self.values / shape.scale)
        found = pl.DataFrame(columns)
        if shape.key:
            lists = np.repeat(np.arange(len(self.keys)), np.diff(self.offsets))
            keys = pl.DataFrame(
                {"list": np.arange(len(self.keys)), shape.key: self.key_ids.gather(pl.Series(self.keys))}
            )
            found = keys.join(found.with_columns(list=lists), on="list", how="left", maintain_order="left_right")
        return found.select(pl.col(name).cast(dtype) for name, dtype in columns_of_rows(shape).items())


def without_items(content: Rows | Vectors, items: frozenset[str]) -> Rows | Vectors:
    """Return the content as if these items had never been in it: no row, no entry and no vector is of one.

    A list that loses all its entries goes too, unless lists of the shape may be empty.
    """
    if not items:
        return content
    if isinstance(content, Vectors):
        return content.without(_ITEM, items)
    return rows_without_items(content, items)


def rows_without_items(rows: Rows, items: frozenset[str]) -> Rows:
    """Return the rows as `without_items` does."""
    shape, sizes = rows.shape, np.diff(rows.offsets)
    lists = np.repeat(np.arange(len(sizes)), sizes)
    kept = np.ones(len(rows.members), np.bool_)
    kept_lists = np.ones(len(sizes), np.bool_)
    if shape.member == _ITEM:
        kept &= ~np.isin(rows.members, _codes(rows.member_ids, items))
    if shape.key == _ITEM:
        kept_lists &= ~np.isin(rows.keys, _codes(rows.key_ids, items))
        kept &= kept_lists[lists]
    left = np.bincount(lists[kept], minlength=len(sizes))
    if shape.key and not shape.may_be_empty:
        kept_lists &= (left > 0) | (sizes == 0)
    offsets = np.concatenate([[0], np.cumsum(left[kept_lists])]).astype(np.int64)
    keys = rows.keys[kept_lists] if shape.key else rows.keys
    return replace(rows, keys=keys, offsets=offsets, members=rows.members[kept], values=rows.values[kept])


def _codes(ids: pl.Series, items: frozenset[str]) -> NDArray[np.uint32]:
    return ids.is_in(list(items)).arg_true().cast(pl.UInt32).to_numpy()


@dataclass(frozen=True, slots=True)
class Excluded:
    """What a limit of the kind kept out of the counts: so many sessions or users, with so many of the events."""

    what: str  # "sessions", "users"; "" for kinds that leave nothing out
    groups: int = field(default=0, kw_only=True)
    of_groups: int = field(default=0, kw_only=True)
    events: int = field(default=0, kw_only=True)

    @property
    def share(self) -> float:
        """Sessions or users left out, as a share of all: one robot is one of many, however many events it sent."""
        return self.groups / self.of_groups if self.of_groups else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class KernelOutput:
    """What a kernel returns: the rows (or vectors), what was left out, and the numbers that people watch over days."""

    rows: Rows | Vectors
    left_out: Excluded
    numbers: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
