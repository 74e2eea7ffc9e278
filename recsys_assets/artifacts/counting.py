"""The one counting law of user kinds: packed (user, item) keys, one sort, run lengths, best items of each user first."""

import numpy as np
import numpy.typing as npt
from numba import njit

from recsys_assets.artifacts.rows import Codes, Numbers

Keys = npt.NDArray[np.uint64]
_SMALL = 24  # rows up to this length are sorted by insertion, which needs no memory


def pack(high: Codes, low: Codes) -> Keys:
    """Return one u64 per pair that sorts as (high, low) does."""
    packed = high.astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= low
    return packed


def count_runs(keys: Keys) -> tuple[Keys, Numbers]:
    """Return each distinct key, ascending, with how often it stands in `keys` (which is sorted in place)."""
    keys.sort()
    starts = _run_starts(keys)
    return keys[starts], np.diff(starts, append=len(keys))


def sum_runs(keys: Keys, weights: Numbers) -> tuple[Keys, Numbers]:
    """Return each distinct key, ascending, with the sum of its weights."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = _run_starts(keys)
    sums = np.add.reduceat(weights[order], starts) if len(starts) else np.zeros(0, np.int64)
    return keys[starts], sums


def rank_rows(pairs: Keys, scores: Numbers, rows: Codes, *, limit: int) -> tuple[Numbers, Codes, Numbers]:
    """Order each row's items by score descending, then code ascending, and keep the first `limit`.

    `pairs` are distinct, ascending (row, item) keys; `rows` are the ascending codes of all rows, those without pairs
    included. Returns offsets (one more than rows), items and scores.
    """
    offsets = np.searchsorted(pairs, rows.astype(np.uint64) << np.uint64(32))
    offsets = np.append(offsets, len(pairs)).astype(np.int64)
    items = (pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    scores = scores.astype(np.int64)
    _sort_rows(offsets, items, scores)
    kept = np.minimum(np.diff(offsets), limit)
    if int(kept.sum()) == len(items):
        return offsets, items, scores
    mask = np.arange(len(items)) - np.repeat(offsets[:-1], np.diff(offsets)) < limit
    return np.concatenate([[0], np.cumsum(kept)]).astype(np.int64), items[mask], scores[mask]


def _run_starts(keys: Keys) -> Numbers:
    if not len(keys):
        return np.zeros(0, np.int64)
    change = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.concatenate([[0], change]).astype(np.int64)


@njit(cache=True, nogil=True)
def _sort_rows(offsets, items, scores):  # pyright: ignore[reportMissingParameterType] # noqa: ANN001, ANN202
    """Sort every row in place by score descending; items come in ascending, and a stable sort keeps ties so."""
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        if stop - start > _SMALL:
            order = np.argsort(-scores[start:stop], kind="mergesort")
            items[start:stop] = items[start:stop][order]
            scores[start:stop] = scores[start:stop][order]
            continue
        for i in range(start + 1, stop):
            item, score = items[i], scores[i]
            j = i - 1
            while j >= start and scores[j] < score:
                items[j + 1] = items[j]
                scores[j + 1] = scores[j]
                j -= 1
            items[j + 1] = item
            scores[j + 1] = score
