"""Outcomes of steps in Dagster: errors that a rerun can cure are retried, all others stop at once and are journaled."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import dagster as dg

from recsys_assets.dagster_defs.naming import day_of
from recsys_assets.dagster_defs.private_api import planned_checks
from recsys_assets.errors import NoInputError, RecsysAssetsError
from recsys_assets.pipeline.steps import RETRIES, RETRY_SECONDS, RETRYABLE_ERRORS, journal_error
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

STOPPED = "stopped before it began"
OUTCOME = "outcome"  # in the metadata of an observation: why an asset was skipped


@contextmanager
def attempt(
    context: Context,
    store: ObjectStore,
    rows: Sequence[TargetSettings],
    *,
    step: str,
    retry_seconds: float = RETRY_SECONDS,
) -> Generator[None]:
    """Do a step of a day of these targets; report what ends it to Dagster and to their journals.

    A defect of ours is reported, too, by its class and message; what a retry may cure, when the last one has failed.
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
    """Write a failure to the targets' journals; one that cannot be written must not hide the failure itself."""
    day = day_of(context)
    by = Actor(name=this_account(), reason=f"build of {day}", run_id=context.run.run_id)
    for fault in journal_error(store, [row.target for row in rows], day, error, step=step, by=by):
        context.log.error(fault)


def raise_if_stopping() -> None:
    """Raise `dg.Failure` if this process is to stop: nothing new begins, and what is done is kept."""
    if is_stopping():
        raise dg.Failure(STOPPED, allow_retries=False)


@contextmanager
def translate_errors(*, retry_seconds: float = RETRY_SECONDS) -> Generator[None]:
    """Turn a package error into a retry request or a failure without retries, its message kept whole."""
    try:
        yield
    except RETRYABLE_ERRORS as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=retry_seconds) from error
    except RecsysAssetsError as error:
        kind = type(error).__name__
        raise dg.Failure(f"{kind}: {error}", metadata={"error": kind}, allow_retries=False) from error


def reason_of(event: dg.DagsterEvent) -> str:
    """Return why a step failed: the message of our own error where one is in the chain of causes, else the first cause.

    An error that is retried reaches Dagster below its request for a retry, and has the error of a library below itself:
    only ours names the object and the remedy.
    """
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    chain = [data.error] if data.error else []
    while chain and chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    ours = next((one for one in chain if one.cls_name in _our_errors()), None)
    found = ours or (chain[-1] if chain else None)
    text = " ".join((found.message if found else "unknown").split())
    return text.removeprefix(f"{RecsysAssetsError.__module__}.") if ours else text


def _our_errors() -> set[str]:
    found = [RecsysAssetsError]
    for one in found:
        found.extend(one.__subclasses__())
    return {one.__name__ for one in found}


def skipped(context: dg.AssetExecutionContext, key: dg.AssetKey, error: NoInputError) -> None:
    """Record why a partition has nothing to build: an observation says it, and the partition stays missing.

    Checks of what is skipped with it pass: Dagster calls one that was planned and never reported skipped, and shows
    an asset of whose days one is skipped as if its check had passed on none.
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
            description=f"nothing to judge: {error}",
            partition=context.partition_key,
        )
        context.log_event(evaluation)  # pyright: ignore[reportArgumentType] - it takes it
