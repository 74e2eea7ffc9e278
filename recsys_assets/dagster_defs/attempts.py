"""Step of a day's build: a failure goes to Dagster, as `outcomes` has it, and into the journals of its targets."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from recsys_assets.dagster_defs.outcomes import RETRIES, RETRYABLE_ERRORS, translate_errors
from recsys_assets.dagster_defs.partitions import day_of
from recsys_assets.dagster_defs.stopping import raise_if_stopping
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.evidence import GateReport
from recsys_assets.identity import Target
from recsys_assets.release.account import this_account
from recsys_assets.release.journal import Actor
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.fan_out import fan_out
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.failed_builds import Failure, journal_failure

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

GATE = "gate"  # in place of an error's class, where a gate refused


@contextmanager
def attempt(
    context: Context,
    store: ObjectStore,
    rows: Sequence[TargetSettings],
    *,
    step: str,
    besides: tuple[type[RecsysAssetsError], ...] = (),
) -> Generator[None]:
    """Do a step of a day of these targets; report what ends it to Dagster and, but for `besides`, to their journals.

    A defect of ours is reported, too, by its class and message; what a retry may cure, when the last one has failed.
    """
    raise_if_stopping()
    with translate_errors():
        try:
            yield
        except besides:
            raise
        except RETRYABLE_ERRORS as error:
            if context.retry_number >= RETRIES:
                _record(context, store, rows, step=step, error=error)
            raise
        except Exception as error:
            _record(context, store, rows, step=step, error=error)
            raise


def record_refusals(context: Context, store: ObjectStore, row: TargetSettings, report: GateReport) -> None:
    """Write to a target's journal which gates refused a day, with their numbers; nothing if none did."""
    if not report.passed:
        message = "; ".join(report.refused_because) or "no gate ran"
        _append(context, store, [row], Failure(day_of(context).isoformat(), report.subject, GATE, message))


def _record(
    context: Context, store: ObjectStore, rows: Sequence[TargetSettings], *, step: str, error: Exception
) -> None:
    kind = type(error).__name__
    _append(context, store, rows, Failure(day_of(context).isoformat(), step, kind, f"{kind}: {error}"))


def _append(context: Context, store: ObjectStore, rows: Sequence[TargetSettings], failure: Failure) -> None:
    """Write to each journal; one that cannot be written must not hide the failure itself."""
    by = Actor(name=this_account(), reason=f"build of {failure.day}", run_id=context.run.run_id)

    def write(target: Target) -> str | None:
        try:
            journal_failure(store, target, failure, by=by, now=datetime.now(UTC))
        except RecsysAssetsError as error:
            return f"{target}: the failure could not be written to the journal: {error}"
        return None

    for fault in fan_out(write, [row.target for row in rows]):
        if fault is not None:
            context.log.error(fault)
