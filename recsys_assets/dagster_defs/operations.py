"""Operations on one target as Dagster jobs, with the same functions as the commands."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from recsys_assets.dagster_defs.lineage import gate_metadata
from recsys_assets.dagster_defs.operation_configs import (
    BackfillConfig,
    BlockConfig,
    ForgetConfig,
    HoldConfig,
    ImportConfig,
    MarkConfig,
    Operation,
    OperationConfig,
    OperationResult,
    OperationRun,
    PinConfig,
    RollbackConfig,
    ShipConfig,
    TagConfig,
    TestConfig,
    TuneConfig,
    UnblockConfig,
)
from recsys_assets.dagster_defs.range_backfill import backfill_target
from recsys_assets.gates.imported import find_rules
from recsys_assets.identity import Target, parse_rfc3339, utc_now
from recsys_assets.ingest.sources.discovery import named_file
from recsys_assets.messages import plural
from recsys_assets.pipeline.import_by_hand import TriedFile, import_file, try_file
from recsys_assets.pipeline.imported import NodePlace
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.upkeep_settings import guards, watch
from recsys_assets.privacy.forget import ForgetRequest, forget_user
from recsys_assets.release.blocking import block_item, unblock_item
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.labels import Labelled
from recsys_assets.release.marking import mark, tag, unmark
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.rollout_transitions import abort, advance
from recsys_assets.upkeep.answer_guard import carry_out_on_live, look_at_live
from recsys_assets.upkeep.repair import restore_pointer
from recsys_assets.upkeep.rollout_guard import carry_out, decide, look_at_rollout

SYNC_JOB: Final = "sync_sinks"

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable
    from recsys_assets.settings.settings import Settings
    from recsys_assets.storage.store import ObjectStore


def _roll_back(o: OperationRun) -> OperationResult:
    done = roll_back(
        o.store,
        o.row.target,
        to=o.config.to,
        by=o.by,
        now=utc_now,
        hold=o.config.hold,
        until=_instant(o.config.hold_until),
        dry_run=o.config.dry_run,
    )
    return OperationResult(done.message, done.entry)


def _ship(o: OperationRun) -> OperationResult:
    done = ship_day(
        o.day_context,
        by=o.by,
        allow_older=o.config.allow_older,
        dry_run=o.config.dry_run,
        override=o.config.override,
    ).outcome
    return OperationResult(done.message, done.entry)


def _mark(label: Labelled) -> Callable[[OperationRun], OperationResult]:
    def act(o: OperationRun) -> OperationResult:
        config = o.config
        change = partial(mark, until=_instant(config.until)) if isinstance(config, PinConfig) else mark
        change = change if config.on else unmark
        done = change(o.store, o.row.target, label, config.release, by=o.by, now=utc_now, dry_run=config.dry_run)
        return OperationResult(done.message, done.entry)

    return act


def _tag(o: OperationRun) -> OperationResult:
    config = o.config
    done = tag(o.store, o.row.target, config.name, config.release or None, by=o.by, now=utc_now, dry_run=config.dry_run)
    return OperationResult(done.message, done.entry)


def _import(o: OperationRun) -> OperationResult:
    file, dry_run = _open_file(o), o.config.dry_run
    node = NodePlace(o.config.parent or None)
    done = import_file(o.day_context, o.config.kind, file, by=o.by, now=utc_now(), dry_run=dry_run, node=node)
    return _tried(done)


def _test(o: OperationRun) -> OperationResult:
    file = _open_file(o)
    if o.config.dry_run:
        return OperationResult("dry run: the file would be tested, and the result journaled")
    return _tried(try_file(o.store, o.settings, o.row, o.config.kind, file, by=o.by, now=utc_now()))


def _open_file(o: OperationRun) -> "Seekable":
    """Return the configured file, after checking that its kind is configured."""
    find_rules(o.settings, o.row, o.config.kind)
    return named_file(o.config.file)


def _tried(done: TriedFile) -> OperationResult:
    return OperationResult(done.message, done.entry, failed=not done.passed, shown=gate_metadata(done.gates))


def _forget(o: OperationRun) -> OperationResult:
    done = forget_user(
        ForgetRequest(o.store, o.settings, o.row, o.config.user, o.by, utc_now, is_configured=True),
        dry_run=o.config.dry_run,
    )
    message = f"{plural(done.events, 'event')} of {plural(len(done.days), 'day')}; {done.message}"
    if done.places:
        message += f"; the user is still in {plural(len(done.places), 'object')}: `recsys-assets forget` lists them"
    return OperationResult(message, done.entry, failed=bool(done.exit_code) and not o.config.dry_run)


def _tune(o: OperationRun) -> OperationResult:
    from recsys_assets.pipeline.tune import tune  # noqa: PLC0415 - imports every kernel

    tuning = tune(o.store, o.settings, o.row, days=o.config.days, report=o.context.log.info)
    best, lines = tuning.winner, tuning.winner.option.lines(o.settings, o.row)
    numbers = {str(tried.option): tried.ndcg for tried in tuning.options}
    return OperationResult(
        f"best: {best.option}, {best.difference:+.4f} nDCG; its lines:\n{lines}", numbers=numbers, lines=lines
    )


def _decide_rollout(o: OperationRun) -> OperationResult:
    target, wanted = o.row.target, guards(o.settings, o.row)
    if o.config.dry_run:
        return OperationResult(f"dry run: {look_at_rollout(o.store, target, wanted, now=utc_now()).message}")
    decision = decide(o.store, target, wanted, by=o.by, now=utc_now)
    done = carry_out(o.store, target, decision, by=o.by, now=utc_now)
    return OperationResult(done.message if done else decision.message, done.entry if done else None)


def _decide_rollback(o: OperationRun) -> OperationResult:
    decision = look_at_live(o.store, o.row.target, watch(o.settings, o.row), now=utc_now())
    if o.config.dry_run:
        return OperationResult(f"dry run: {decision.message}")
    done = carry_out_on_live(o.store, o.row.target, decision, by=o.by, now=utc_now)
    return OperationResult(
        done.message if done else decision.message, done.entry if done else None, failed=bool(decision.exit_code)
    )


def _sync(o: OperationRun) -> OperationResult:
    from recsys_assets.sinks.configured import look_at_sinks  # noqa: PLC0415 - off by default

    if not o.config.dry_run:
        return follow(o.settings, o.store, o.row.target)
    states = look_at_sinks(o.store, o.settings, o.row.target, now=utc_now())
    return OperationResult(f"dry run: {'; '.join(f'{sink.sink} {sink.message}' for sink in states)}")


def follow(settings: "Settings", store: "ObjectStore", target: Target) -> OperationResult:
    """Make the sinks of a target serve the live release."""
    from recsys_assets.sinks.configured import SinkFault, sync_sinks  # noqa: PLC0415 - off by default

    done = list(sync_sinks(store, settings, target, now=utc_now))
    lines = [
        f"{outcome.sink}: {outcome.error if isinstance(outcome, SinkFault) else outcome.message}" for outcome in done
    ]
    return OperationResult("; ".join(lines), failed=any(isinstance(outcome, SinkFault) for outcome in done))


def _simply(change: Callable[..., Any], *fields: str) -> Callable[[OperationRun], OperationResult]:
    """Return an operation that calls `change` on one target with these fields of its configuration."""

    def act(o: OperationRun) -> OperationResult:
        given = {name: getattr(o.config, name) for name in fields}
        given |= {name: _instant(given[name]) for name in given if name == "until"}
        done = change(o.store, o.row.target, by=o.by, now=utc_now, dry_run=o.config.dry_run, **given)
        return OperationResult(done.message, done.entry)

    return act


OPERATIONS: Final = (
    Operation(
        "roll_back",
        RollbackConfig,
        _roll_back,
        "Move one target back to an earlier release; nothing is recomputed. Faster by command, without Dagster: "
        "`recsys-assets rollback --tenant T --surface S --to previous --reason ...`.",
    ),
    Operation(
        "ship",
        ShipConfig,
        _ship,
        "Ship the staged artifacts of a day; builds what an overridden gate had blocked.",
    ),
    Operation("hold", HoldConfig, _simply(place_hold, "until"), "Keep automation from shipping to one target."),
    Operation("release_hold", OperationConfig, _simply(release_hold), "Let automation ship to one target again."),
    Operation(
        "block_item",
        BlockConfig,
        _simply(block_item, "item", "until"),
        "Keep readers from showing one item of one target, from their next poll on.",
    ),
    Operation(
        "unblock_item",
        UnblockConfig,
        _simply(unblock_item, "item"),
        "Let readers show a blocked item of one target again.",
    ),
    Operation(
        "decide_rollout",
        OperationConfig,
        _decide_rollout,
        "Wait, advance or abort a rollout, by the answers of consumers.",
    ),
    Operation(
        "decide_rollback",
        OperationConfig,
        _decide_rollback,
        "Roll back the live release if far more of its answers are empty than those of the one before, as configured.",
    ),
    Operation("advance_rollout", OperationConfig, _simply(advance), "Serve a candidate to the next share of requests."),
    Operation("abort_rollout", OperationConfig, _simply(abort), "Stop serving a candidate, and mark it bad."),
    Operation(
        "restore_pointer",
        OperationConfig,
        _simply(restore_pointer),
        "Restore a lost or damaged pointer to the release that the journal last recorded as live.",
    ),
    Operation(
        SYNC_JOB,
        OperationConfig,
        _sync,
        "Make the databases that services query serve the live release.",
        waits=True,
    ),
    Operation("pin", PinConfig, _mark(Labelled.PINNED), "Keep a release from garbage collection."),
    Operation("mark_bad", MarkConfig, _mark(Labelled.BAD), "Keep a release from shipping again."),
    Operation("tag", TagConfig, _tag, "Give a release a name, e.g. champion, or move the name from another release."),
    Operation(
        "test_file",
        TestConfig,
        _test,
        "Test a file of another team against contract, live version, limits and custom gates; nothing is registered.",
        waits=True,
    ),
    Operation(
        "import_file",
        ImportConfig,
        _import,
        "Test a file of another team against contract, live version and limits, and register it for a day.",
        waits=True,
    ),
    Operation(
        "backfill",
        BackfillConfig,
        backfill_target,
        "Build many days of a target in one run, oldest first, each with its own results; faster than one run "
        "per day for long ranges.",
        waits=True,
    ),
    Operation(
        "tune",
        TuneConfig,
        _tune,
        "Evaluate scoring options for neighbours on the last days; the configuration lines of the best are in the log.",
        waits=True,
    ),
    Operation(
        "forget",
        ForgetConfig,
        _forget,
        "Remove a user from stored days and live artifacts of one target, and from every later build. To forget a "
        "user of all targets without storing the id in the run history, use the command `recsys-assets forget`.",
        waits=True,
    ),
)


def _instant(text: str | None) -> datetime | None:
    return parse_rfc3339(text) if text else None
