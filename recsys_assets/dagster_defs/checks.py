"""Factory of gate checks: each reads the stored bytes back, runs the gates, and stores the report for the swap."""

import warnings

import dagster as dg

from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.metadata import gate_metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key, daily_partitions
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import InputError
from recsys_assets.evidence import GateReport, Verdict
from recsys_assets.pipeline.arrivals import changed_inputs
from recsys_assets.pipeline.candidate_gates import whole_policies
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.steps import GATES, JudgedStep, Step, journal_refusals, judge_step
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

MAX_NAMES = 5  # file names in a message
UNDECIDED = "undecided"  # metadata key of a passed check: required gates that could not decide


def gate_check(
    settings: Settings, store: RunStore, row: TargetSettings, step: Step, *, description: str
) -> dg.AssetChecksDefinition:
    """Return the blocking check of a step's asset, which runs its gates on one day and stores the report."""

    def gates(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        day = store.day_context(context, settings, row)
        with attempt(context, store.store, [row], step=f"gates of {step.name}"):
            judged = judge_step(step, day)
            if not judged.report.passed and context.run.parent_run_id is not None:
                _refuse_old_bytes(day)
        for fault in journal_refusals(day, judged.report):
            context.log.error(fault)
        return check_result(judged)

    with warnings.catch_warnings():
        # Partitioned checks are in preview. A check without its day would evaluate another one.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.asset_check(
            asset=asset_key(row, step.name),
            name=GATES,
            blocking=True,
            partitions_def=daily_partitions(settings.partitions),
            description=description,
        )(gates)


def _refuse_old_bytes(day: DayContext) -> None:
    """Raise `InputError` if raw files changed since the build: a re-execution from a failed step checks old artifacts.

    Called only in re-executions, because it reads the day's files. A re-execution of all steps has just read them.
    """
    changed = changed_inputs(day)
    if changed:
        names = ", ".join(changed[:MAX_NAMES]) + (
            f" and {len(changed) - MAX_NAMES} more" if changed[MAX_NAMES:] else ""
        )
        raise InputError(
            f"inputs changed since this day was built ({names}): re-execute all steps of the run instead of "
            "those that failed"
        )


def verdict_of(report: GateReport) -> tuple[bool, dg.AssetCheckSeverity]:
    """Return whether a check passed, and its severity: an error stops the day, a warning does not.

    A passed check has the severity of a warning: the graph colours failures of older days by the severity of the
    newest.
    """
    advised = any(finding.verdict is Verdict.ADVISED for finding in report.findings)
    severity = dg.AssetCheckSeverity.WARN if report.passed else dg.AssetCheckSeverity.ERROR
    return report.passed and not advised, severity


def check_result(judged: JudgedStep) -> dg.AssetCheckResult:
    """Return the result of a check: passed, a warning if a gate advises, or an error."""
    passed, severity = verdict_of(judged.report)
    return dg.AssetCheckResult(
        passed=passed,
        check_name=judged.check,
        severity=severity,
        description=judged.message,
        metadata=gate_metadata(judged.report) | numbers({UNDECIDED: judged.undecided or None}),
    )


def whole_check_specs(settings: Settings, row: TargetSettings, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Return a check spec per subject on the whole candidate. The manifest asset reports them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # as above
        return [
            dg.AssetCheckSpec(
                policy.subject,
                asset=key,
                partitions_def=daily_partitions(settings.partitions),
                description=f"{', '.join(policy.gates)}: run on all artifacts together, before the pointer moves.",
            )
            for policy in whole_policies(settings, row)
        ]
