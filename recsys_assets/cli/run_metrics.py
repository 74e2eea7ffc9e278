"""Metrics that a `run` exports when it ends, as a sensor of the daemon does for its own runs."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from recsys_assets.cli.output import echo
from recsys_assets.observability.build_metrics import RunEnd
from recsys_assets.observability.export_metrics import export_metrics
from recsys_assets.pipeline.open_store import open_configured_store
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def export_run_metrics(
    settings: Settings, rows: Sequence[TargetSettings], *, day: date, failed: Sequence[str], started: datetime
) -> None:
    """Export for each target whether any of its assets, or the shared `raw`, failed; print faults of the export."""
    if settings.metrics.folder is None and settings.metrics.push is None:
        return
    store, now = open_configured_store(settings), datetime.now(UTC)
    for row in rows:
        own = ("raw", "/".join((*row.slug_parts, "")))
        run = RunEnd(not any(asset.startswith(own) for asset in failed), now, (now - started).total_seconds())
        for fault in export_metrics(store, settings, [row], day=day, run=run, now=now):
            echo(fault, err=True)
