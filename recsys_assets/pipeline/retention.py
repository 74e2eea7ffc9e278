"""Retention of a target by its configuration; light, so that collecting needs no kernel."""

from datetime import timedelta

from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.roots import Retention


def retention(settings: Settings, row: TargetSettings | None) -> Retention:
    """Return the retention of one target, or of one without a row: so many releases, and the grace."""
    kept = settings.retention_for(row) if row else settings.retention
    return Retention(kept.keep, timedelta(hours=kept.grace_hours))
