"""Days that Dagster records: the jobs of a day in the instance of $DAGSTER_HOME, and a line about each asset."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import dagster as dg

from recsys_assets.cli.instance import opened_instance
from recsys_assets.dagster_defs.attempts import OUTCOME, STOPPED, reason_of
from recsys_assets.dagster_defs.checks import UNDECIDED
from recsys_assets.dagster_defs.sequential_jobs import SequentialJobs
from recsys_assets.pipeline.run_day import AssetLine, built_line
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def recorded_days(
    settings: Settings, rows: Sequence[TargetSettings]
) -> Generator[Callable[[date], Iterator[AssetLine]]]:
    """Yield what builds a day of these targets by Dagster, so that the UI shows its runs."""
    _quiet_what_the_lines_say_better()
    jobs = SequentialJobs(settings, rows)
    with opened_instance() as instance:
        yield lambda day: _build(jobs, day, instance)


def _build(jobs: SequentialJobs, day: date, instance: dg.DagsterInstance) -> Iterator[AssetLine]:
    """Yield a line per asset of a day, job after job; nothing is built of a day whose files could not be read."""
    for number, job in enumerate(jobs):
        result = job.execute_in_process(
            partition_key=day.isoformat(), instance=instance, raise_on_error=False, run_config=QUIET
        )
        yield from read_result(result, day)
        if is_stopping():
            return
        if number == 0 and not any(event.is_step_materialization for event in result.all_events):
            return


def _quiet_what_the_lines_say_better() -> None:
    """Keep Dagster from warning, for each skipped day, that its checks gave no result.

    An instance resets the level of "dagster", so the logger that says it is named.
    """
    logging.getLogger("dagster").setLevel(logging.ERROR)
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)


def read_result(result: dg.ExecuteInProcessResult, day: date) -> Iterator[AssetLine]:
    """Yield one line per asset that was materialized, skipped for want of input, or failed (a refusing gate too)."""
    for event in result.all_events:
        kind = event.event_type_value
        if kind == "ASSET_MATERIALIZATION":
            materialization = event.step_materialization_data.materialization
            numbers = {key: value.value for key, value in materialization.metadata.items()}
            yield built_line(day, _name(materialization.asset_key), numbers)
        elif kind == "ASSET_OBSERVATION" and event.asset_key is not None:
            observation = event.asset_observation_data.asset_observation
            if OUTCOME in observation.metadata:  # else it is of an external asset
                yield AssetLine(day, _name(observation.asset_key), "skipped", observation.description or "")
        elif kind == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            asset = f"{_name(evaluation.asset_key)} {evaluation.check_name}"
            if not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
                yield AssetLine(day, asset, "failed", evaluation.description or "refused")
            elif UNDECIDED in evaluation.metadata:
                yield AssetLine(day, asset, "unsure", str(evaluation.metadata[UNDECIDED].value))
        elif kind == "STEP_FAILURE" and not _is_refused_check(event) and (reason := reason_of(event)) != STOPPED:
            yield AssetLine(day, (event.step_key or "?").replace("__", "/"), "failed", reason)


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def _is_refused_check(event: dg.DagsterEvent) -> bool:
    """Return whether a step failed only because its check refused, which its evaluation reports already."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"
