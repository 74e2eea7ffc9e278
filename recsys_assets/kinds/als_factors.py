"""Factors by alternating least squares: a vector per user and item, whose products say who may like what."""

from importlib import import_module
from importlib.metadata import version as installed
from threading import Lock
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import Field

from recsys_assets.compiled.grouping import count_codes
from recsys_assets.compiled.strings import Codes, offsets_of
from recsys_assets.encoding.rows import KernelOutput, Rows
from recsys_assets.encoding.safetensors_codec import Floats, Table, Vectors
from recsys_assets.errors import ConfigurationError
from recsys_assets.events.events import Events
from recsys_assets.evidence import Scalar
from recsys_assets.kind_descriptions import ALS_FACTORS_SHAPE, IMPLICIT_SHAPE
from recsys_assets.kinds.implicit import WEIGHT_SCALE, WeightedParams, weights_of
from recsys_assets.kinds.params import Promise
from recsys_assets.kinds.user_lists import sum_users

USER, ITEM = "user_id", "item_id"

_LIMITED = Lock()
_START: Final = 0.01  # the largest number that the factors begin with, as in the library
_THREADS: Final = 2  # users are split among them, each computed by one alone: their number changes no bit


class AlsParams(WeightedParams):
    """Parameters of factors."""

    factors: int = Field(default=32, ge=1, le=1024, description="numbers in each vector")
    iterations: int = Field(default=15, ge=1, le=1000, description="rounds of users, then items")
    regularization: float = Field(default=0.01, gt=0, description="pull of all factors towards 0")
    alpha: float = Field(default=10.0, gt=0, description="confidence in an item of a user, per unit of weight")
    seed: int = Field(default=1, ge=0, lt=2**32, description="of the factors that the first round begins with")
    max_items: int = Field(default=100_000, ge=1, description="a cut: the items of the most users are kept")
    max_bytes: int = Field(default=100_000_000, ge=1, description="largest blob; over it nothing is built")

    @property
    def promise(self) -> Promise:
        """Vectors of one length, of a bounded number of items."""
        return Promise(dimensions=self.factors, max_vectors={ITEM: self.max_items})


def factorise(events: Events, params: AlsParams) -> KernelOutput:
    """Return a vector per named user and item: the product of two says how likely the user is to like the item.

    Reads `user_id`, `item_id` and `event`. A user's confidence in an item is `alpha` times the sum of the weights of
    their events with it (the score of `implicit`, and cut as there). Tables: `user_id` and `item_id`, float32, each
    vector `factors` long. Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", 2008, solved
    by conjugate gradients in the library `implicit`.

    The same events give the same bytes on the same processor and libraries, whatever the threads; another processor
    may round otherwise, so that here a version names a build. The numbers say which: `library`, `blas`.

    Raises `ConfigurationError` if the library is not installed.
    """
    summed = sum_users(events, params, IMPLICIT_SHAPE, weights=weights_of(events, params))
    users, items, matrix = _matrix(summed.rows, params)
    factors = _fit(matrix, params)
    tables = {
        column: Table(ids.gather(pl.Series(codes)), values)
        for column, ids, codes, values in (
            (USER, summed.rows.key_ids, users, factors[0]),
            (ITEM, summed.rows.member_ids, items, factors[1]),
        )
    }
    numbers = {**summed.numbers, "users": len(users), "items": len(items), **_libraries()}
    return KernelOutput(Vectors(ALS_FACTORS_SHAPE, tables), summed.left_out, numbers)


def _matrix(rows: Rows, params: AlsParams) -> tuple[Codes, Codes, Any]:
    """Return the users and items that are kept, and the confidences of the ones in the others as a sparse matrix."""
    sparse = _library("scipy.sparse")
    counts = count_codes(rows.members, size=len(rows.member_ids))
    best = np.argsort(-counts, kind="stable")[: params.max_items]
    items = np.sort(best[counts[best] > 0]).astype(np.uint32)
    places = np.full(len(counts), -1, np.int64)
    places[items] = np.arange(len(items))
    kept = places[rows.members] >= 0
    lists = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))[kept]
    lengths = np.bincount(lists, minlength=len(rows))
    named = np.flatnonzero(lengths)
    confidences = (rows.values[kept] * (params.alpha / WEIGHT_SCALE)).astype(np.float32)
    shape = (len(named), len(items))
    matrix = sparse.csr_matrix((confidences, places[rows.members[kept]], offsets_of(lengths[named])), shape)
    return rows.keys[named], items, matrix


def _fit(matrix: Any, params: AlsParams) -> tuple[Floats, Floats]:
    """Return the factors of rows and columns, computed so that threads change nothing of them."""
    random = np.random.Generator(np.random.PCG64(params.seed))
    first, second = (_START * random.random((count, params.factors), np.float32) for count in matrix.shape)
    if not matrix.nnz:
        return first, second
    solver = _library("implicit.cpu.als")  # before the limit, which reaches only the libraries that are loaded
    # Sums are split by threads there. The limit is the process's: of two at once, the first to end would lift both.
    with _LIMITED, _library("threadpoolctl").threadpool_limits(limits=1, user_api="blas"):
        model = solver.AlternatingLeastSquares(
            factors=params.factors,
            regularization=params.regularization,
            iterations=params.iterations,
            num_threads=_THREADS,
        )
        model.user_factors, model.item_factors = first, second
        model.fit(matrix, show_progress=False)
    return model.user_factors, model.item_factors


def _libraries() -> dict[str, Scalar]:
    """Return what computes: the library, and whose linear algebra on which sort of processor."""
    pools = _library("threadpoolctl").threadpool_info()
    named = (
        f"{one['internal_api']} {one['version']} {one.get('architecture')}"
        for one in pools
        if "blas" in one["user_api"]
    )
    return {"library": f"implicit {installed('implicit')}", "blas": ", ".join(sorted(set(named)))}


def _library(name: str) -> Any:
    """Import what only this kind needs, and takes a second."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"als_factors needs {name.partition('.')[0]}, which cannot be imported ({error}): install "
            "recsys-assets[als], or take als_factors out of artifacts.kinds"
        ) from error
