"""Factory of gate checks: each reads the stored bytes back, judges them, and keeps its report for the swap."""

import warnings
from collections.abc import Callable

import dagster as dg

from recsys_assets.dagster_defs.attempts import attempt, record_refusals
from recsys_assets.dagster_defs.metadata import gate_metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key
from recsys_assets.dagster_defs.partitions import daily_partitions
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import InputError
from recsys_assets.evidence import GateReport, Verdict, group_by_message
from recsys_assets.gates.gate import undecided
from recsys_assets.pipeline.candidate_gates import whole_policies
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.day_status import changed_inputs
from recsys_assets.pipeline.overrides import way_out
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

CHECK = "gates"
MAX_NAMES = 5  # files in a message
UNDECIDED = "undecided"  # in the metadata of a check that passed: required gates that could not decide


def gate_check(
    settings: Settings,
    store: RunStore,
    row: TargetSettings,
    name: str,
    *,
    judge: Callable[[DayContext], GateReport],
    description: str,
) -> dg.AssetChecksDefinition:
    """Return the blocking check of the asset called `name`; `judge` judges one day and stores its report."""

    def gates(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with attempt(context, store.store, [row], step=f"gates of {name}"):
            day = store.day_context(context, settings, row)
            report = judge(day)
            if not report.passed and context.run.parent_run_id is not None:
                _refuse_old_bytes(day)
        record_refusals(context, store.store, row, report)
        way = way_out(settings, row, day.day, [(name, one.gate) for one in report.refusals if one.is_judgement])
        return check_result(report, way=way)

    with warnings.catch_warnings():
        # Partitioned checks are in preview; a check that does not know its day would judge another one.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.asset_check(
            asset=asset_key(row, name),
            name=CHECK,
            blocking=True,
            partitions_def=daily_partitions(settings.partitions),
            description=description,
        )(gates)


def _refuse_old_bytes(day: DayContext) -> None:
    """Raise `InputError` if raw files changed since: a re-execution from the failed step judges what was built before.

    Only a re-execution asks, as it reads the day's files; one of all steps has just read them and finds no change.
    """
    changed = changed_inputs(day)
    if changed:
        names = ", ".join(changed[:MAX_NAMES]) + (
            f" and {len(changed) - MAX_NAMES} more" if changed[MAX_NAMES:] else ""
        )
        raise InputError(
            f"inputs changed since this day was built ({names}): re-execute all steps of the run, with raw, instead of "
            "those that failed"
        )


def check_result(report: GateReport, *, name: str | None = None, way: str = "") -> dg.AssetCheckResult:
    """Return a report as the result of the check called `name`, or of the only one; `way` out follows a refusal."""
    return dg.AssetCheckResult(
        passed=report.passed,
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(filter(None, (*report.refused_because, way))) or _passed(report),
        metadata=gate_metadata(report)
        | numbers({UNDECIDED: "; ".join(group_by_message(undecided(report), "undecided")) or None}),
    )


def whole_check_specs(settings: Settings, row: TargetSettings, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return a check for each subject that judges a candidate as a whole; the manifest itself runs them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # as above
        return [
            dg.AssetCheckSpec(
                policy.subject,
                asset=key,
                partitions_def=daily_partitions(settings.partitions),
                description=f"{', '.join(policy.gates)}: judged before the pointer moves, of all artifacts together.",
            )
            for policy in whole_policies(settings, row)
        ]


def _passed(report: GateReport) -> str:
    """Say that the gates let the day go on, and which of them only advise against it."""
    advice = [finding for finding in report.findings if finding.verdict is Verdict.ADVISED]
    passed = f"{len(report.findings) - len(advice)} gates passed"
    return f"{passed}, {len(advice)} advise: {', '.join(finding.gate for finding in advice)}" if advice else passed
