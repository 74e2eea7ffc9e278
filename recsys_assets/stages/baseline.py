"""What a new artifact is compared with: the live release's blob of its kind, verified, and the items it knows."""

from collections.abc import Mapping

import polars as pl

from recsys_assets.artifacts.kinds import KINDS
from recsys_assets.artifacts.rows import Rows
from recsys_assets.artifacts.vectors import Vectors
from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.gates.drift import NoBaseline
from recsys_assets.gates.drift_numbers import Baseline, Drift, item_strengths, measure_drift
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.manifest.pointer import read_current
from recsys_assets.manifest.releases import read_release
from recsys_assets.sharding import index_kind
from recsys_assets.stages.stored_rows import read_content
from recsys_assets.storage.store import ObjectStore

CATALOG_KIND = "content_sim"


def compare_with_live(
    store: ObjectStore, target: Target, rows: Rows | Vectors, *, kind: str, top_items: int
) -> Drift | NoBaseline:
    """Return how far `rows` lie from the live artifact of their kind, or why there is nothing to compare with.

    A live release that is damaged is told, not raised: what would mend it may be the very artifact under judgement.
    """
    try:
        live = live_baseline(store, target, kind)
    except (CorruptObjectError, NotFoundError) as error:
        return NoBaseline(fault=str(error))
    return NoBaseline() if live is None else measure_drift(rows, live, top_items=top_items)


def live_baseline(store: ObjectStore, target: Target, kind: str) -> Baseline | None:
    """Return the live rows of a kind, or None if nothing of it is live.

    The catalog is that of the live `content_sim`; without one, the items of the rows themselves. Raises
    `NotFoundError` or `CorruptObjectError` if the live release, or a blob of it, is not there or not what it should be.
    """
    current = read_current(store, target)
    if current is None or not {kind, index_kind(kind)} & current.versions.keys():
        return None
    refs = read_release(store, target, current.release_id).artifacts
    rows = _rows(store, target, refs, kind)
    known = rows if kind == CATALOG_KIND or CATALOG_KIND not in refs else _rows(store, target, refs, CATALOG_KIND)
    return Baseline(current.release_id, rows, _items(known))


def _rows(store: ObjectStore, target: Target, refs: Mapping[str, ArtifactRef], kind: str) -> Rows | Vectors:
    return read_content(store, target, refs[kind], KINDS[kind].shape)[1]


def _items(rows: Rows | Vectors) -> pl.Series:
    return item_strengths(rows)["item_id"]
