"""Outcomes of steps in Dagster: errors that a rerun can cure are retried, all others stop at once."""

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from recsys_assets.errors import (
    ConflictError,
    EngineUnavailableError,
    NoInputError,
    RecsysAssetsError,
    StoreUnavailableError,
)

RETRYABLE_ERRORS = (StoreUnavailableError, ConflictError, EngineUnavailableError)
RETRIES = 3
RETRY_SECONDS = 5


@contextmanager
def translate_errors() -> Generator[None]:
    """Turn a package error into a retry request or a failure without retries, its message kept whole."""
    try:
        yield
    except RETRYABLE_ERRORS as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS) from error
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
    """Record why a partition has nothing to build: an observation says it, and the partition stays missing."""
    context.log.warning(str(error))
    context.log_event(
        dg.AssetObservation(
            asset_key=key,
            partition=context.partition_key,
            description=str(error),
            metadata={"outcome": error.outcome},
        ),
    )
