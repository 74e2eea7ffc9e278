"""The one factory of gate checks: each reads the stored bytes back, judges them, and keeps its report for the swap."""

import warnings
from collections.abc import Callable
from datetime import date

import dagster as dg

from recsys_assets.config.settings import Settings
from recsys_assets.defs.metadata import gate_metadata
from recsys_assets.defs.outcomes import told_to_dagster
from recsys_assets.defs.partitions import daily_partitions, day_of
from recsys_assets.defs.resources import StoreResource
from recsys_assets.evidence import GateReport, Verdict
from recsys_assets.storage.store import ObjectStore

CHECK = "gates"


def gate_check(
    settings: Settings,
    key: dg.AssetKey,
    *,
    judge: Callable[[ObjectStore, date], GateReport],
    description: str,
) -> dg.AssetChecksDefinition:
    """Return the blocking check of one asset; `judge` reads, judges and stores the report of one day."""

    def gates(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        with told_to_dagster():
            report = judge(store.store, day_of(context))
        refusals = "; ".join(f.message for f in report.refusals)
        return dg.AssetCheckResult(
            passed=report.passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description=refusals or _passed(report),
            metadata=gate_metadata(report),
        )

    with warnings.catch_warnings():
        # Partitioned checks are in preview; a check that does not know its day would judge another one.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.asset_check(
            asset=key,
            name=CHECK,
            blocking=True,
            partitions_def=daily_partitions(settings.partitions),
            description=description,
        )(gates)


def _passed(report: GateReport) -> str:
    """Say that the gates let the day go on, and which of them only advise against it."""
    advice = [f.message for f in report.findings if f.verdict is Verdict.ADVISED]
    passed = f"{len(report.findings) - len(advice)} gates passed"
    return "; ".join([f"{passed}, {len(advice)} advise", *advice]) if advice else passed
