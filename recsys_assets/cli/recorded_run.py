"""Builds recorded by Dagster: the jobs of a day in the instance of $DAGSTER_HOME, with a line per asset."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import dagster as dg

from recsys_assets.cli.options import opened_instance
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.asset_factory import UNDECIDED
from recsys_assets.dagster_defs.attempts import OUTCOME, STOPPED, reason_of
from recsys_assets.dagster_defs.freshness import CHECK
from recsys_assets.dagster_defs.naming import job_name
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.pipeline.run_day import AssetLine, built_line
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.settings.settings import Settings, TargetSettings

KEPT = 100  # jobs cached: enough to reuse the jobs of a backfill, few enough for a thousand targets


@dataclass(frozen=True, slots=True)
class SequentialJobs:
    """Jobs of a day, created on demand. Iterable once for each of several days.

    In a single run Dagster would work level by level, and the first target would ship only after the last one is built.
    Each job has the graph of its target only: cutting jobs out of one graph of all targets takes quadratic time.
    """

    settings: Settings
    rows: Sequence[TargetSettings]
    _jobs: dict[int, dg.JobDefinition] = field(default_factory=dict[int, dg.JobDefinition], init=False, repr=False)

    def __iter__(self) -> Iterator[dg.JobDefinition]:
        """Yield the complete job of a single target. For several, the job of the raw files, then one job per target."""
        if len(self.rows) == 1:
            yield self._job(0)
            return
        yield _part(self._job(0), raw=True)  # the raw asset is shared by all targets, so any job contains it
        for number in range(len(self.rows)):
            yield _part(self._job(number), raw=False)

    def _job(self, number: int) -> dg.JobDefinition:
        job = self._jobs.get(number)
        if job is None:
            job = build_definitions(self.settings, rows=[self.rows[number]]).resolve_job_def(
                job_name(self.rows[number])
            )
            if number < KEPT:
                self._jobs[number] = job
        return job


def _part(job: dg.JobDefinition, *, raw: bool) -> dg.JobDefinition:
    """Return the job with only the raw asset, or without it. Checks stay with their asset."""
    keys = {key for key in job.asset_layer.executable_asset_keys if (key == RAW) is raw}
    checks = {
        check
        for check in job.asset_layer.asset_graph.asset_check_keys
        if check.name != CHECK and check.asset_key in keys
    }
    return job.get_subset(asset_selection=keys, asset_check_selection=checks)


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def recorded_days(
    settings: Settings, rows: Sequence[TargetSettings]
) -> Generator[Callable[[date], Iterator[AssetLine]]]:
    """Yield a function that builds a day of these targets by Dagster, so that the UI shows the runs."""
    _silence_dagster_loggers()
    jobs = SequentialJobs(settings, rows)
    with opened_instance() as instance:
        yield lambda day: _build(jobs, day, instance)


def _build(jobs: SequentialJobs, day: date, instance: dg.DagsterInstance) -> Iterator[AssetLine]:
    """Yield a line per asset of a day, job by job. Stops after the first job if the raw files could not be read."""
    for number, job in enumerate(jobs):
        result = job.execute_in_process(
            partition_key=day.isoformat(), instance=instance, raise_on_error=False, run_config=QUIET
        )
        yield from read_result(result, day)
        if is_stopping():
            return
        if number == 0 and not any(event.is_step_materialization for event in result.all_events):
            return


def _silence_dagster_loggers() -> None:
    """Silence Dagster's warning, for each skipped day, that its checks gave no result.

    Opening an instance resets the level of "dagster", so the level of the logger that warns is set too.
    """
    logging.getLogger("dagster").setLevel(logging.ERROR)
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)


def read_result(result: dg.ExecuteInProcessResult, day: date) -> Iterator[AssetLine]:
    """Yield one line per asset that was materialized, skipped for lack of input, failed, or refused by a gate."""
    for event in result.all_events:
        kind = event.event_type_value
        if kind == "ASSET_MATERIALIZATION":
            materialization = event.step_materialization_data.materialization
            numbers = {key: value.value for key, value in materialization.metadata.items()}
            yield built_line(day, _name(materialization.asset_key), numbers)
        elif kind == "ASSET_OBSERVATION" and event.asset_key is not None:
            observation = event.asset_observation_data.asset_observation
            if OUTCOME in observation.metadata:  # observations of external assets do not have it
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
    """Return whether a step failed only because its check refused, which the check evaluation already reports."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"
