"""Freshness of a configured target, from its settings, its raw files and the store."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from recsys_assets.identity import Target
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.run_cache import ReadOnce
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.upkeep.staleness import Freshness, RawFiles, explain_freshness, wanted_at
from recsys_assets.upkeep.status import TargetStatus, status_of


def freshness(store: ObjectStore, settings: Settings, row: TargetSettings, *, now: datetime) -> Freshness:
    """Return the freshness of a target against `freshness.max_age_hours`, with the cause if it is stale."""
    wanted = wanted_at(
        now,
        max_age=timedelta(hours=settings.freshness_for(row).max_age_hours),
        first=settings.partitions.start,
        last=settings.partitions.end,
    )
    return explain_freshness(
        ReadOnce(store),
        row.target,
        wanted,
        kinds=settings.kinds_for(row),
        raw=lambda day: raw_input(settings, row, day, now=now),
    )


def look_at_targets(
    store: ObjectStore, settings: Settings, targets: Sequence[Target], *, now: datetime
) -> tuple[tuple[TargetStatus, Freshness | None], ...]:
    """Return status and freshness of every target. Targets are read concurrently, and each object once per target.

    The freshness of a target that is not in the configuration is None: it has no limit.
    """
    rows = {(row.tenant, row.surface): row for row in settings.targets}

    def read_target(target: Target) -> tuple[TargetStatus, Freshness | None]:
        once, row = ReadOnce(store), rows.get((target.tenant, target.surface))
        return status_of(once, target, now=now), freshness(once, settings, row, now=now) if row else None

    return fan_out(read_target, targets)


def raw_input(settings: Settings, row: TargetSettings, day: date, *, now: datetime) -> RawFiles | None:
    """Return the number of raw files of a target's day, the time of the newest, and whether they are settled.

    Files are settled once the newest is `automation.settled_minutes` old, or if there are no files. Returns None if a
    database or a warehouse would have to run a query, because stale targets are evaluated often.
    """
    if settings.raw.is_queried:
        return None
    files = find_inputs(settings.model_copy(update={"targets": (row,)}), day)
    newest = max((file.touched_at() for file in files), default=None)
    settling = timedelta(minutes=settings.automation_for(row).settled_minutes)
    return RawFiles(len(files), newest, settled=newest is None or now - newest >= settling)
