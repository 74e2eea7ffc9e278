"""Upkeep of a target by its settings: what is kept, and what a rollout must show; light unless windows matter."""

from datetime import timedelta

from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.age_limits import CANONICAL, QUARANTINE, RAW, STAGING, AgeLimits
from recsys_assets.upkeep.answer_guard import GuardMode, GuardSettings
from recsys_assets.upkeep.rollout_guard import RolloutLimits
from recsys_assets.upkeep.roots import Retention


def retention(settings: Settings, row: TargetSettings | None) -> Retention:
    """Return the retention of one target, or of one without a row: so many releases, and the grace."""
    kept = settings.retention_for(row) if row else settings.retention
    return Retention(kept.keep, timedelta(hours=kept.grace_hours))


def age_limits(settings: Settings, row: TargetSettings | None) -> AgeLimits:
    """Return the age limits of one target; of one without a row none, as nothing says which windows it had."""
    if row is None:
        return AgeLimits({})
    kept = settings.retention_for(row)
    limits = {
        RAW: kept.raw_days,
        QUARANTINE: settings.retention.quarantine_days,
        STAGING: kept.staging_days,
        CANONICAL: kept.canonical_days,
    }
    days = {name: value for name, value in limits.items() if value is not None}
    staged = max((one.max_age_days for one in settings.imports_for(row).values()), default=0) + 1
    return AgeLimits(days, _needed_days(settings, row) if CANONICAL in days else 1, staged)


def _needed_days(settings: Settings, row: TargetSettings) -> int:
    from recsys_assets.kinds.registry import read_params  # noqa: PLC0415 - only where canonical days have a limit

    windows = [read_params(settings, row, kind).window_days for kind in settings.artifacts.kinds]
    return max([*windows, settings.gates_for(row).day.history_days + 1])


def guards(settings: Settings, row: TargetSettings | None) -> RolloutLimits:
    """Return the guards of the rollouts of one target, or of one without a row."""
    return RolloutLimits.of(settings.rollout_for(row) if row else settings.rollout)


def watch(settings: Settings, row: TargetSettings | None) -> GuardSettings:
    """Return how what is live of one target is watched, or of one without a row."""
    wanted = settings.rollback_for(row) if row else settings.rollback
    return GuardSettings(GuardMode(wanted.automatic), wanted.watch_hours)
