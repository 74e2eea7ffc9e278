"""The contract of kinds of vectors: whose they are, how many, how long, and that every number is one."""

import numpy as np
import polars as pl

from recsys_assets.artifacts.contracts import check_ids, check_rows
from recsys_assets.artifacts.params import KindParams, Promise
from recsys_assets.artifacts.rows import Rows
from recsys_assets.artifacts.vectors import Table, Vectors
from recsys_assets.canonical.rules import Rule, broken_rules
from recsys_assets.evidence import Finding


def check_content(content: Rows | Vectors, params: KindParams) -> tuple[Finding, ...]:
    """Return what breaks the contract of a kind built with these parameters, whatever its form."""
    return check_rows(content, params) if isinstance(content, Rows) else check_vectors(content, params)


def check_vectors(vectors: Vectors, params: KindParams) -> tuple[Finding, ...]:
    """Return what breaks the contract of a kind of vectors built with these parameters, nothing if all holds.

    Ids: not empty, trimmed, ascending, each once, no more than promised. Vectors: as long as promised, every number
    finite. Each finding has the exact count of offenders and a few of them with their ids.
    """
    findings = [_check_table(column, table, params.promise) for column, table in vectors.tables.items()]
    return tuple(finding for found in findings for finding in found)


def _check_table(column: str, table: Table, promise: Promise) -> tuple[Finding, ...]:
    places = np.arange(1, len(table.ids) + 1)
    frame = pl.DataFrame({"id": table.ids, "place": places, "finite": np.isfinite(table.values).all(axis=1)})
    frame = frame.with_columns(length=pl.lit(table.values.shape[1]))
    types = {"id": pl.String(), "place": pl.Int64(), "finite": pl.Boolean(), "length": pl.Int32()}
    rules = [Rule(f"{column}_vectors_finite", pl.col("finite"), "all numbers of a vector are finite")]
    if promise.dimensions is not None:
        as_long = pl.col("length") == promise.dimensions
        rules.append(Rule(f"{column}_vector_length", as_long, f"vectors have {promise.dimensions} numbers"))
    if column in promise.max_vectors:
        limit = promise.max_vectors[column]
        rules.append(Rule(f"{column}_vectors", pl.col("place") <= limit, f"there are at most {limit} vectors"))
    return check_ids(table.ids, role=column) + broken_rules(frame, types, rules)
