"""Vectors by id, as kernels of embeddings return them, and their arrays in a safetensors file."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_assets.kind_descriptions import VectorShape

FORM = "safetensors"

Floats = NDArray[np.float32]


COLUMNS: Mapping[str, pl.DataType] = {"of": pl.String(), "id": pl.String(), "norm": pl.Float64()}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Vectors of one sort of id: `values[n]` is that of `ids[n]`; ids are strings, strictly ascending, no nulls."""

    ids: pl.Series
    values: Floats

    @property
    def norms(self) -> NDArray[np.float64]:
        """The length of each vector."""
        return np.linalg.norm(self.values.astype(np.float64), axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """The tables of one artifact, by the column of ids that each is for."""

    shape: VectorShape
    tables: Mapping[str, Table]

    def __len__(self) -> int:
        """Return how many vectors there are."""
        return sum(len(table.ids) for table in self.tables.values())

    def without(self, column: str, ids: frozenset[str]) -> "Vectors":
        """Return the vectors but those of some ids of one column."""
        table = self.tables.get(column)
        if table is None:
            return self
        kept = ~table.ids.is_in(list(ids))
        left = Table(table.ids.filter(kept), table.values[kept.to_numpy()])
        return Vectors(self.shape, {**self.tables, column: left})

    def frame(self, limit: int | None = None) -> pl.DataFrame:
        """Return whose each vector is (`of`: the column of ids, `id`) and its length `norm`; the first of each table.

        What a single number of a vector says depends on all others, so that people are shown its length alone.
        """
        heads = [
            pl.DataFrame({"of": [column] * len(ids), "id": ids, "norm": table.norms[: len(ids)]})
            for column, table in self.tables.items()
            for ids in [table.ids if limit is None else table.ids.head(limit)]
        ]
        return pl.concat([pl.DataFrame(schema=COLUMNS), *heads])
