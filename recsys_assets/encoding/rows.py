"""Rows of an artifact as integer arrays, used by kernels, contracts and the codec."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.evidence import Scalar
from recsys_assets.kind_descriptions import Shape

_ITEM = "item_id"


def columns_of_rows(shape: Shape) -> Mapping[str, pl.DataType]:
    """Return the columns and dtypes of `Rows.frame` for a shape."""
    key = {shape.key: pl.String()} if shape.key else {}
    value = {shape.value: pl.Int64() if shape.scale == 1 else pl.Float64()} if shape.value else {}
    return {**key, shape.column: pl.String(), **value}


class Rows(msgspec.Struct, frozen=True, eq=False):
    """Lists of coded members, each with a coded key.

    List `n` belongs to `keys[n]` (u32) and is `members[offsets[n] : offsets[n + 1]]` (u32) with the same slice of
    `values` (i64). A shape without a key has one list and no keys. A shape without a value has zeros as values. Codes
    are positions in `key_ids` and `member_ids`, which are strictly ascending String series without nulls and may
    contain ids that no row uses.
    """

    shape: Shape
    keys: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    members: NDArray[np.uint32]
    values: NDArray[np.int64]
    key_ids: pl.Series
    member_ids: pl.Series

    def __len__(self) -> int:
        """Return the number of objects in the body's array: keys, or members of the only list."""
        return len(self.keys) if self.shape.key else len(self.members)

    def head(self, count: int) -> "Rows":
        """Return the first members of the only list of a shape without a key."""
        members, values = self.members[:count], self.values[:count]
        return replace(self, offsets=np.array([0, len(members)]), members=members, values=values)

    def frame(self) -> pl.DataFrame:
        """Return one row per member, in the artifact's order, with ids as strings and unscaled values.

        A key with an empty list has one row with nulls.
        """
        shape = self.shape
        columns: dict[str, pl.Series] = {shape.column: self.member_ids.gather(pl.Series(self.members))}
        if shape.value:
            # numpy divides. Polars multiplies by the reciprocal, which differs in the last bit for some scores.
            columns[shape.value] = pl.Series(self.values if shape.scale == 1 else self.values / shape.scale)
        frame = pl.DataFrame(columns)
        if shape.key:
            lists = np.repeat(np.arange(len(self.keys)), np.diff(self.offsets))
            keys = pl.DataFrame(
                {"list": np.arange(len(self.keys)), shape.key: self.key_ids.gather(pl.Series(self.keys))}
            )
            frame = keys.join(frame.with_columns(list=lists), on="list", how="left", maintain_order="left_right")
        return frame.select(pl.col(name).cast(dtype) for name, dtype in columns_of_rows(shape).items())


def without_items(content: Rows | Vectors, items: frozenset[str]) -> Rows | Vectors:
    """Return the content without any row, entry or vector of these items.

    A list that loses all its entries is removed too, unless the shape allows empty lists.
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
    mask = np.ones(len(rows.members), np.bool_)
    kept_lists = np.ones(len(sizes), np.bool_)
    if shape.member == _ITEM:
        mask &= ~np.isin(rows.members, _codes(rows.member_ids, items))
    if shape.key == _ITEM:
        kept_lists &= ~np.isin(rows.keys, _codes(rows.key_ids, items))
        mask &= kept_lists[lists]
    left = np.bincount(lists[mask], minlength=len(sizes))
    if shape.key and not shape.may_be_empty:
        kept_lists &= (left > 0) | (sizes == 0)
    offsets = np.concatenate([[0], np.cumsum(left[kept_lists])]).astype(np.int64)
    keys = rows.keys[kept_lists] if shape.key else rows.keys
    return replace(rows, keys=keys, offsets=offsets, members=rows.members[mask], values=rows.values[mask])


def _codes(ids: pl.Series, items: frozenset[str]) -> NDArray[np.uint32]:
    return ids.is_in(list(items)).arg_true().cast(pl.UInt32).to_numpy()


@dataclass(frozen=True, slots=True)
class Excluded:
    """Sessions or users excluded from the counts by a limit of the kind, with their number of events."""

    what: str  # "sessions" or "users", "" for kinds without exclusions
    groups: int = field(default=0, kw_only=True)
    of_groups: int = field(default=0, kw_only=True)
    events: int = field(default=0, kw_only=True)

    @property
    def share(self) -> float:
        """Share of sessions or users excluded. A bot counts once, however many events it sent."""
        return self.groups / self.of_groups if self.of_groups else 0.0


class KernelOutput(msgspec.Struct, frozen=True, eq=False):
    """Output of a kernel: rows or vectors, exclusions, and numbers charted over days."""

    rows: Rows | Vectors
    left_out: Excluded
    numbers: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])
