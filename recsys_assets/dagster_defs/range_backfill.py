"""Backfill of many days of a target in one run that reports each asset of each day to Dagster."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import verdict_of
from recsys_assets.dagster_defs.lineage import gate_metadata, markdown_table, numbers, stored
from recsys_assets.dagster_defs.operation_configs import OperationResult, OperationRun, read_day
from recsys_assets.identity import utc_now
from recsys_assets.messages import plural
from recsys_assets.pipeline.arrivals import choose_days, is_up_to_date
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.run_day import AssetLine, run_day
from recsys_assets.pipeline.steps import RAW, BuiltStep, JudgedStep
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

DATA_VERSION = "dagster/data_version"
MAX_CAUSES = 10  # failures in a message


def backfill_target(o: OperationRun) -> OperationResult:
    """Build the configured days. The result is a failure with days and causes if any day failed."""
    first, last = read_day(o.config.first_day), read_day(o.config.last_day)
    days = choose_days(o.settings, start=first, end=last, today=utc_now().date())
    if o.config.dry_run:
        return OperationResult(f"dry run: {plural(len(days), 'day')} would be built, {first} to {last}")
    skipped_days, failures = backfill(o.context, o.store, o.settings, o.row, days, resume=o.config.resume, raw=o.raw)
    failed = sorted({line.day for line in failures})
    done = f"{len(days) - len(failed)} of {plural(len(days), 'day')} done, {skipped_days} of them before"
    if not failed:
        return OperationResult(done)
    causes = "; ".join(f"{line.day} {line.asset}: {line.message}" for line in failures[:MAX_CAUSES])
    more = f"; and {len(failures) - MAX_CAUSES} more" if failures[MAX_CAUSES:] else ""
    return OperationResult(f"{done}, {plural(len(failed), 'day')} failed: {causes}{more}", failed=True)


def backfill(
    context: dg.OpExecutionContext,
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    days: Sequence[date],
    *,
    resume: bool,
    raw: dg.AssetKey,
) -> tuple[int, list[AssetLine]]:
    """Build days oldest first, as `recsys-assets run` does. Returns the number of skipped days, and the failures.

    A failed day does not stop the others. Each materialization and check is recorded for its day, so that partitions,
    plots and checks look as after one run per day, without the seconds of overhead of each run.
    """
    skipped_days, failures = 0, list[AssetLine]()
    for number, day in enumerate(days, start=1):
        if resume and day != days[-1] and is_up_to_date(DayContext(store, settings, row, day)):
            skipped_days += 1
            continue
        failed = [line for line in _day(context, store, settings, row, day, raw=raw) if line.failed]
        failures += failed
        state = "failed" if failed else "done"
        context.log.info("%s %s, %d of %d days", day, state, number, len(days))
    return skipped_days, failures


def _day(
    context: dg.OpExecutionContext,
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    day: date,
    *,
    raw: dg.AssetKey,
) -> Iterator[AssetLine]:
    def watch(asset: str, result: BuiltStep | JudgedStep) -> None:
        key = raw if asset == RAW else dg.AssetKey(asset.split("/"))
        if isinstance(result, BuiltStep):
            context.log_event(_materialization(store, key, day, result))
        else:
            context.log_event(_evaluation(key, day, result))  # pyright: ignore[reportArgumentType] - accepted at runtime

    for line in run_day(store, settings, [row], day, watch=watch):
        if line.state != "ok":
            context.log.warning("%s", line.text)
        yield line


def _materialization(store: ObjectStore, key: dg.AssetKey, day: date, built: BuiltStep) -> dg.AssetMaterialization:
    tables = {title: markdown_table(table.columns, table.rows) for title, table in built.tables.items()}
    location: dict[str, Any] = stored(store, built.key, rows=built.rows) if built.key else {}
    return dg.AssetMaterialization(
        key,
        partition=day.isoformat(),
        metadata={**numbers(built.numbers), **location, **tables},
        tags={DATA_VERSION: built.version} if built.version else None,
    )


def _evaluation(key: dg.AssetKey, day: date, judged: JudgedStep) -> dg.AssetCheckEvaluation:
    passed, severity = verdict_of(judged.report)
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=judged.check,
        passed=passed,
        severity=severity,
        description=judged.message,
        metadata=gate_metadata(judged.report),
        partition=day.isoformat(),
    )
