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
