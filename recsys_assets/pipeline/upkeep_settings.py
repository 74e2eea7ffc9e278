"""Upkeep settings of one target: retention, age limits, rollout limits and answer guard.

Kinds are imported only where canonical days have an age limit, so that other callers start fast.
"""

from datetime import timedelta

from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.upkeep.age_limits import CANONICAL, QUARANTINE, RAW, STAGING, AgeLimits
from recsys_assets.upkeep.answer_guard import GuardMode, GuardSettings
from recsys_assets.upkeep.rollout_guard import RolloutLimits
from recsys_assets.upkeep.roots import Retention


def retention(settings: Settings, row: TargetSettings | None) -> Retention:
    """Return the releases to keep and the grace period of one target. Without a row, the defaults apply."""
    limits = settings.retention_for(row) if row else settings.retention
    return Retention(limits.keep, timedelta(hours=limits.grace_hours))


def age_limits(settings: Settings, row: TargetSettings | None) -> AgeLimits:
    """Return the age limits of one target. Without a row there are none, because the windows it had are unknown."""
    if row is None:
        return AgeLimits({})
    retained = settings.retention_for(row)
    limits = {
        RAW: retained.raw_days,
        QUARANTINE: settings.retention.quarantine_days,
        STAGING: retained.staging_days,
        CANONICAL: retained.canonical_days,
    }
    days = {name: value for name, value in limits.items() if value is not None}
    staged = max((rules.max_age_days for rules in settings.imports_for(row).values()), default=0) + 1
    return AgeLimits(days, _needed_days(settings, row) if CANONICAL in days else 1, staged)


def _needed_days(settings: Settings, row: TargetSettings) -> int:
    from recsys_assets.kinds.registry import read_params  # noqa: PLC0415 - only where canonical days have a limit

    windows = [read_params(settings, row, kind).window_days for kind in settings.artifacts.kinds]
    return max([*windows, settings.gates_for(row).day.history_days + 1])


def guards(settings: Settings, row: TargetSettings | None) -> RolloutLimits:
    """Return the limits that the rollouts of one target must stay within. Without a row, the defaults apply."""
    return RolloutLimits.of(settings.rollout_for(row) if row else settings.rollout)


def watch(settings: Settings, row: TargetSettings | None) -> GuardSettings:
    """Return the answer guard's mode and hours of one target. Without a row, the defaults apply."""
    rollback = settings.rollback_for(row) if row else settings.rollback
    return GuardSettings(GuardMode(rollback.automatic), rollback.watch_hours)
