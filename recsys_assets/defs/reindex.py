"""Rebuilds Dagster's view of what was shipped from the store's journal: the store is the truth, Dagster is the face."""

from collections.abc import Sequence

import dagster as dg

from recsys_assets.config import Settings, TargetSettings
from recsys_assets.defs.events import SEQUENCE, materialization_of
from recsys_assets.defs.naming import MANIFEST, asset_key
from recsys_assets.identity import Target
from recsys_assets.manifest.journal import changes
from recsys_assets.manifest.releases import find_release
from recsys_assets.storage.store import ObjectStore

PAGE = 1000


def tell_dagster(
    instance: dg.DagsterInstance,
    store: ObjectStore,
    settings: Settings,
    *,
    targets: Sequence[Target],
    dry_run: bool,
) -> int:
    """Report every swap in the journals that the instance has no event of; return how many."""
    rows = [settings.find(target.tenant, target.surface) for target in targets]
    return sum(_tell(instance, store, row, dry_run=dry_run) for row in rows)


def _tell(instance: dg.DagsterInstance, store: ObjectStore, row: TargetSettings, *, dry_run: bool) -> int:
    known = _known(instance, asset_key(row, MANIFEST))
    told = 0
    for entry in reversed(list(changes(store, row.target))):
        release = find_release(store, row.target, entry.after) if entry.after else None
        if release is None or entry.sequence in known:
            continue
        told += 1
        if not dry_run:
            instance.report_runless_asset_event(materialization_of(row, entry, release))
    return told


def _known(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[int]:
    """Return the journal numbers that the instance's events on the manifest asset carry."""
    known: set[int] = set()
    cursor: str | None = None
    while True:
        page = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key), limit=PAGE, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            value = event.metadata.get(SEQUENCE) if event else None
            if value is not None:
                known.add(int(str(value.value)))
        if not page.has_more:
            return known
        cursor = page.cursor
