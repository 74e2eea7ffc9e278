"""Baseline of an artifact: the live release from which drift and catalog changes are measured."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date

import polars as pl

from recsys_assets.artifact_format import index_kind
from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.errors import CorruptObjectError, InputError, NotFoundError
from recsys_assets.gates.artifact import ArtifactFacts, CatalogChange, compare_catalogs
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
from recsys_assets.storage.store import ObjectStore


def compare_with_live(
    store: ObjectStore, target: Target, rows: Rows | Vectors, *, kind: str, top_items: int
) -> Drift | NoBaseline:
    """Measure the drift of `rows` from the live artifact of their kind. Returns `NoBaseline` if there is none.

    A damaged live release is reported in `NoBaseline.fault`, not raised: the artifact under judgement may repair it.
    """
    try:
        live = live_baseline(store, target, kind)
    except (CorruptObjectError, NotFoundError) as error:
        return NoBaseline(fault=str(error))
    return NoBaseline() if live is None else measure_drift(rows, live, top_items=top_items)


def live_baseline(store: ObjectStore, target: Target, kind: str) -> Baseline | None:
    """Return the live rows of a kind and the items of the live catalog, or None if the kind is not live.

    The items are those of the first live kind, in the order of `KINDS`, that is built from the catalog and refers to
    its items. If the kind is itself built from the catalog, or no such kind is live, the items of its own rows are
    used. Raises `NotFoundError` or `CorruptObjectError` if the live release, or a blob of it, is missing or damaged.
    """
    current = read_current(store, target)
    if current is None or not {kind, index_kind(kind)} & current.versions.keys():
        return None
    refs = read_release(store, target, current.release_id).artifacts
    rows = _rows(store, target, refs, kind)
    catalogs = [name for name, each in KINDS.items() if each.from_catalog and each.description.names_items]
    others = [name for name in catalogs if name in refs and not KINDS[kind].from_catalog]
    catalog = _rows(store, target, refs, others[0]) if others else rows
    return Baseline(current.release_id, rows, _items(catalog))


def _rows(store: ObjectStore, target: Target, refs: Mapping[str, ArtifactRef], kind: str) -> Rows | Vectors:
    return read_content(store, target, refs[kind], KINDS[kind].shape)[1]


def _items(rows: Rows | Vectors) -> pl.Series:
    return item_strengths(rows)["item_id"]


def drift_of(context: DayContext, kind: str, rows: Rows | Vectors, policy: Policy[ArtifactFacts]) -> Drift | NoBaseline:
    """Measure the drift of the rows from the live release. Reads nothing if no drift gate is on."""
    if not policy.gates.keys() & set(DriftGate):
        return NoBaseline()
    top_items = context.settings.gates_for(context.row).drift.of_kind(kind).top_items
    return compare_with_live(context.store, context.target, rows, kind=kind, top_items=top_items)


def catalog_change_of(context: DayContext, kind: str, rows: Rows | Vectors) -> CatalogChange | None:
    """Compare a kind of the catalog with the live one.

    Returns None if it is not live, or if the live release is damaged, which the drift gates report.
    """
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
    """Return the record of a canonical day. Raises `InputError` if there is none."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is None:
        raise InputError(f"{target} {day} has no canonical events: build canonical of this day first")
    return record
