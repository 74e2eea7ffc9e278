"""Baseline of an artifact: the live release that its drift, and what a catalog became, are measured from."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date

import polars as pl

from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.errors import CorruptObjectError, InputError, NotFoundError
from recsys_assets.gates.artifact import ArtifactFacts
from recsys_assets.gates.catalog import CatalogChange, compare_catalogs
from recsys_assets.gates.drift import NoBaseline
from recsys_assets.gates.drift_distance import Baseline, Drift, item_strengths, measure_drift
from recsys_assets.gates.gate import Policy
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.stored_artifact import read_content
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.settings.gates import DriftGate
from recsys_assets.sharding import index_kind
from recsys_assets.storage.store import ObjectStore


def compare_with_live(
    store: ObjectStore, target: Target, rows: Rows | Vectors, *, kind: str, top_items: int
) -> Drift | NoBaseline:
    """Return how far `rows` lie from the live artifact of their kind, or why there is nothing to compare with.

    A live release that is damaged is reported, not raised: what would fix it may be the very artifact under judgement.
    """
    try:
        live = live_baseline(store, target, kind)
    except (CorruptObjectError, NotFoundError) as error:
        return NoBaseline(fault=str(error))
    return NoBaseline() if live is None else measure_drift(rows, live, top_items=top_items)


def live_baseline(store: ObjectStore, target: Target, kind: str) -> Baseline | None:
    """Return the live rows of a kind, or None if nothing of it is live.

    The catalog is what the first live kind that is built from it names, by the order of `KINDS`; a kind that is itself
    built from it, or one beside which none is live, has the items of its own rows. Raises `NotFoundError` or
    `CorruptObjectError` if the live release, or a blob of it, is not there or not what it should be.
    """
    current = read_current(store, target)
    if current is None or not {kind, index_kind(kind)} & current.versions.keys():
        return None
    refs = read_release(store, target, current.release_id).artifacts
    rows = _rows(store, target, refs, kind)
    catalogs = [name for name, one in KINDS.items() if one.from_catalog and one.description.names_items]
    others = [name for name in catalogs if name in refs and not KINDS[kind].from_catalog]
    known = _rows(store, target, refs, others[0]) if others else rows
    return Baseline(current.release_id, rows, _items(known))


def _rows(store: ObjectStore, target: Target, refs: Mapping[str, ArtifactRef], kind: str) -> Rows | Vectors:
    return read_content(store, target, refs[kind], KINDS[kind].shape)[1]


def _items(rows: Rows | Vectors) -> pl.Series:
    return item_strengths(rows)["item_id"]


def drift_of(context: DayContext, kind: str, rows: Rows | Vectors, policy: Policy[ArtifactFacts]) -> Drift | NoBaseline:
    """Return how far the rows lie from live; nothing is read if no gate asks."""
    if not policy.gates.keys() & set(DriftGate):
        return NoBaseline()
    top_items = context.settings.gates_for(context.row).drift.of_kind(kind).top_items
    return compare_with_live(context.store, context.target, rows, kind=kind, top_items=top_items)


def catalog_change_of(context: DayContext, kind: str, rows: Rows | Vectors) -> CatalogChange | None:
    """Return how what a catalog became differs from live's; None without one, or where drift names its damage."""
    with suppress(CorruptObjectError, NotFoundError):
        live = live_baseline(context.store, context.target, kind)
        if live is not None:
            return compare_catalogs(rows, live.rows, _items_of_day(context))
    return None


def _items_of_day(context: DayContext) -> pl.DataFrame:
    """Return `item_id` and `count` of the day's canonical events."""
    record = require_day(context.store, context.target, context.day)
    events = read_events(context.store, context.target, context.day, record, columns=("item_id",))
    counts = events.codes.group_by("item_id").agg(pl.len().cast(pl.Int64).alias("count"))
    return counts.with_columns(item_id=events.ids["item_id"].gather(counts["item_id"]))


def require_day(store: ObjectStore, target: Target, day: date) -> CanonicalRecord:
    """Return the record of a canonical day; `InputError` if there is none."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is None:
        raise InputError(f"{target} {day} has no canonical events: build canonical of this day first")
    return record
