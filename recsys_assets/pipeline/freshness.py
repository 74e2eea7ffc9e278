"""Freshness of a configured target: its limits and its raw files, put to the one function that explains it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from recsys_assets.identity import Target
from recsys_assets.ingest.sources.finding import find_inputs
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.run_cache import ReadOnce
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.upkeep.staleness import Freshness, RawFiles, explain_freshness, wanted_at
from recsys_assets.upkeep.status import TargetStatus, status_of


def freshness(store: ObjectStore, settings: Settings, row: TargetSettings, *, now: datetime) -> Freshness:
    """Return how fresh a target is against `freshness.max_age_hours`, and the cause when it is stale."""
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
    """Return how every target stands and how fresh it is, several looked at at once, each object read once.

    How fresh one must be that is not in the configuration, nobody has said: None.
    """
    rows = {(row.tenant, row.surface): row for row in settings.targets}

    def look(target: Target) -> tuple[TargetStatus, Freshness | None]:
        once, row = ReadOnce(store), rows.get((target.tenant, target.surface))
        return status_of(once, target, now=now), freshness(once, settings, row, now=now) if row else None

    return fan_out(look, targets)


def raw_input(settings: Settings, row: TargetSettings, day: date, *, now: datetime) -> RawFiles:
    """Return how many raw files a target has for a day, when the newest changed, and whether they are complete."""
    files = find_inputs(settings.model_copy(update={"targets": (row,)}), day)
    newest = max((file.touched_at() for file in files), default=None)
    settling = timedelta(minutes=settings.automation_for(row).settled_minutes)
    return RawFiles(len(files), newest, settled=newest is None or now - newest >= settling)
