"""Factories of assets and of gate checks: what every asset of a day shares, and checks whose report the swap proves."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.lineage import Metadata, gate_metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key, asset_tags, daily_partitions, group_name, owner
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import InputError
from recsys_assets.evidence import GateReport, Scalar, Verdict
from recsys_assets.pipeline.arrivals import changed_inputs
from recsys_assets.pipeline.candidate_gates import whole_policies
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.steps import GATES, JudgedStep, Step, journal_refusals, judge_step
from recsys_assets.settings.settings import Settings, TargetSettings

AssetDecorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]
MAX_NAMES = 5  # file names in a message
UNDECIDED = "undecided"  # metadata key of a passed check: required gates that could not decide


def day_asset(
    settings: Settings,
    key: dg.AssetKey,
    *,
    group: str,
    kinds: Collection[str],
    owners: Sequence[str] | None = None,
    **own: Any,
) -> AssetDecorator:
    """Return the decorator of an asset with daily partitions. `own` are further arguments of `dg.asset`."""
    return dg.asset(
        key=key,
        group_name=group,
        partitions_def=daily_partitions(settings.partitions),
        kinds=set(kinds),
        owners=list(settings.owners if owners is None else owners),
        **own,
    )


def target_asset(
    settings: Settings,
    row: TargetSettings,
    name: str,
    *,
    kinds: Collection[str],
    about: Mapping[str, Any],
    tags: dict[str, str] | None = None,
    **own: Any,
) -> AssetDecorator:
    """Return the decorator of a target's asset `name`. `about` is its metadata, and `own` is passed to `dg.asset`."""
    return day_asset(
        settings,
        asset_key(row, name),
        group=group_name(row),
        kinds=kinds,
        owners=row.owners,
        metadata={**owner(row), **about},
        tags=asset_tags(row) | (tags or {}),
        **own,
    )


class Timer:
    """Stopwatch that adds `seconds` since its creation to the numbers of an asset."""

    def __init__(self) -> None:
        self._started = perf_counter()

    def numbers(self, values: Mapping[str, Scalar]) -> Metadata:
        """Return `seconds` and these scalars as metadata."""
        return numbers({"seconds": perf_counter() - self._started, **values})


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
