"""Attempts of steps in Dagster: transient errors are retried, all others fail at once and are journaled."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import dagster as dg

from recsys_assets.dagster_defs.naming import day_of
from recsys_assets.dagster_defs.private_api import planned_checks
from recsys_assets.errors import NoInputError, RecsysAssetsError
from recsys_assets.pipeline.steps import RETRIES, RETRY_SECONDS, RETRYABLE_ERRORS, journal_error
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.settings.settings import TargetSettings
from recsys_assets.storage.store import ObjectStore

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

STOPPED = "stopped before it began"
OUTCOME = "outcome"  # metadata key of an observation: reason why an asset was skipped


@contextmanager
def attempt(
    context: Context,
    store: ObjectStore,
    rows: Sequence[TargetSettings],
    *,
    step: str,
    retry_seconds: float = RETRY_SECONDS,
) -> Generator[None]:
    """Run a step of a day of these targets. Reports its errors to Dagster and to the targets' journals.

    Unexpected exceptions are journaled too, with class and message. Transient errors are journaled only when the last
    retry fails.
    """
    raise_if_stopping()
    with translate_errors(retry_seconds=retry_seconds):
        try:
            yield
        except RETRYABLE_ERRORS as error:
            if context.retry_number >= RETRIES:
                _record(context, store, rows, step=step, error=error)
            raise
        except Exception as error:
            _record(context, store, rows, step=step, error=error)
            raise


def _record(
    context: Context, store: ObjectStore, rows: Sequence[TargetSettings], *, step: str, error: Exception
) -> None:
    """Journal a failure for each target. An error in doing so is logged and does not hide the failure."""
    day = day_of(context)
    by = Actor(name=this_account(), reason=f"build of {day}", run_id=context.run.run_id)
    for fault in journal_error(store, [row.target for row in rows], day, error, step=step, by=by):
        context.log.error(fault)


def raise_if_stopping() -> None:
    """Raise `dg.Failure` if this process is stopping: no new step starts, and finished steps are kept."""
    if is_stopping():
        raise dg.Failure(STOPPED, allow_retries=False)


@contextmanager
def translate_errors(*, retry_seconds: float = RETRY_SECONDS) -> Generator[None]:
    """Turn a package error into a `dg.RetryRequested` or a `dg.Failure` without retries, with the full message."""
    try:
        yield
    except RETRYABLE_ERRORS as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=retry_seconds) from error
    except RecsysAssetsError as error:
        kind = type(error).__name__
        raise dg.Failure(f"{kind}: {error}", metadata={"error": kind}, allow_retries=False) from error


def reason_of(event: dg.DagsterEvent) -> str:
    """Return the reason of a step failure: the message of our error in the chain of causes, else of the root cause.

    Dagster shows a retried error as the cause of the retry request, and a library's error as the cause of ours. Only
    our message contains the object and the remedy.
    """
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    chain = [data.error] if data.error else []
    while chain and chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    ours = next((error for error in chain if error.cls_name in _our_errors()), None)
    cause = ours or (chain[-1] if chain else None)
    text = " ".join((cause.message if cause else "unknown").split())
    return text.removeprefix(f"{RecsysAssetsError.__module__}.") if ours else text


def _our_errors() -> set[str]:
    classes = [RecsysAssetsError]
    for error_class in classes:
        classes.extend(error_class.__subclasses__())
    return {error_class.__name__ for error_class in classes}


def skipped(context: dg.AssetExecutionContext, key: dg.AssetKey, error: NoInputError) -> None:
    """Record by an observation why a partition has nothing to build. The partition stays missing.

    The checks of the skipped assets are reported as passed: otherwise Dagster would mark a planned check as skipped,
    and show an asset with one skipped day as if its check had passed on no day.
    """
    context.log.warning(str(error))
    context.log_event(
        dg.AssetObservation(
            asset_key=key,
            partition=context.partition_key,
            description=str(error),
            metadata={OUTCOME: error.outcome},
        ),
    )
    for check in planned_checks(context, dg.AssetSelection.assets(key).downstream()):
        evaluation = dg.AssetCheckEvaluation(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=True,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={OUTCOME: error.outcome},
            description=f"nothing to evaluate: {error}",
            partition=context.partition_key,
        )
        context.log_event(evaluation)  # pyright: ignore[reportArgumentType] - accepted at runtime
