"""Alternating least squares: a vector per user and item, whose dot product predicts how likely a user likes an item."""

from importlib import import_module
from importlib.metadata import version as installed
from threading import Lock
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import Field

from recsys_assets.compiled.arrays import Codes, offsets_of
from recsys_assets.compiled.kernel_steps import count_codes
from recsys_assets.encoding.rows import KernelOutput, Rows
from recsys_assets.encoding.safetensors_codec import Floats, Table, Vectors
from recsys_assets.errors import ConfigurationError
from recsys_assets.events.events import Events
from recsys_assets.evidence import Scalar
from recsys_assets.kind_descriptions import ALS_FACTORS_SHAPE, IMPLICIT_SHAPE
from recsys_assets.kinds.params import Promise
from recsys_assets.kinds.user_lists import WEIGHT_SCALE, WeightedParams, sum_users, weights_of

USER, ITEM = "user_id", "item_id"

_LIMITED = Lock()
_START: Final = 0.01  # upper bound of the initial factors, as in the library
_THREADS: Final = 2  # each user is computed by one thread, so their number does not change any bit


class AlsParams(WeightedParams):
    """Parameters of the kind `als_factors`."""

    factors: int = Field(default=32, ge=1, le=1024, description="length of each vector")
    iterations: int = Field(
        default=15, ge=1, le=1000, description="alternations: each updates all users, then all items"
    )
    regularization: float = Field(default=0.01, gt=0, description="L2 penalty on all factors")
    alpha: float = Field(default=10.0, gt=0, description="confidence in a user's item per unit of weight")
    seed: int = Field(default=1, ge=0, lt=2**32, description="random seed of the initial factors")
    max_items: int = Field(default=100_000, ge=1, description="maximum items; those with the most users are kept")
    max_bytes: int = Field(
        default=100_000_000, ge=1, description="maximum bytes of the blob; a larger one is not built"
    )

    @property
    def promise(self) -> Promise:
        """Vectors of one length, of a bounded number of items."""
        return Promise(dimensions=self.factors, max_vectors={ITEM: self.max_items})


def factorise(events: Events, params: AlsParams) -> KernelOutput:
    """Return a vector per identified user and per item. Their dot product predicts how likely the user likes the item.

    Reads `user_id`, `item_id` and `event`. A user's confidence in an item is `alpha` times the sum of the weights of
    their events with it, which is the score of `implicit`, with the same cuts. Tables: `user_id` and `item_id`, each
    with float32 vectors of length `factors`. Method: Hu, Koren, Volinsky, "Collaborative filtering for implicit
    feedback datasets", 2008, solved by conjugate gradients in the library `implicit`.

    The same events give the same bytes on the same processor and libraries, with any number of threads. Another
    processor may round differently, so the version of this kind depends on the build. The facts `library` and `blas`
    record it.

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
    """Return the kept users and items (codes, uint32), and their confidences as a sparse float32 matrix."""
    sparse = _library("scipy.sparse")
    counts = count_codes(rows.members, size=len(rows.member_ids))
    best = np.argsort(-counts, kind="stable")[: params.max_items]
    items = np.sort(best[counts[best] > 0]).astype(np.uint32)
    places = np.full(len(counts), -1, np.int64)
    places[items] = np.arange(len(items))
    mask = places[rows.members] >= 0
    lists = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))[mask]
    lengths = np.bincount(lists, minlength=len(rows))
    users = np.flatnonzero(lengths)
    confidences = (rows.values[mask] * (params.alpha / WEIGHT_SCALE)).astype(np.float32)
    shape = (len(users), len(items))
    matrix = sparse.csr_matrix((confidences, places[rows.members[mask]], offsets_of(lengths[users])), shape)
    return rows.keys[users], items, matrix


def _fit(matrix: Any, params: AlsParams) -> tuple[Floats, Floats]:
    """Return the factors of rows and columns. They do not depend on the number of threads."""
    random = np.random.Generator(np.random.PCG64(params.seed))
    first, second = (_START * random.random((count, params.factors), np.float32) for count in matrix.shape)
    if not matrix.nnz:
        return first, second
    solver = _library("implicit.cpu.als")  # before the limit, which only applies to loaded libraries
    # BLAS splits sums by threads. The limit is per process: of two concurrent ones, the first to end would lift both.
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
    """Return the versions of the library and of its BLAS, with the processor architecture that BLAS uses."""
    pools = _library("threadpoolctl").threadpool_info()
    libraries = (
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture')}"
        for pool in pools
        if "blas" in pool["user_api"]
    )
    return {"library": f"implicit {installed('implicit')}", "blas": ", ".join(sorted(set(libraries)))}


def _library(name: str) -> Any:
    """Import a module that only this kind needs and that takes a second to import."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"als_factors needs {name.partition('.')[0]}, which cannot be imported ({error}): install "
            "recsys-assets[als], or remove als_factors from artifacts.kinds"
        ) from error
