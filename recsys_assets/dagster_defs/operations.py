"""Operation jobs for on-call people: ship, roll back, hold, release a hold, block an item, collect; as the commands."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from recsys_assets.dagster_defs.events import materialization_of, observation_of
from recsys_assets.dagster_defs.outcomes import translate_errors
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.identity import parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.retention import retention
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.account import this_account
from recsys_assets.release.blocking import BlockOutcome, block_item, unblock_item
from recsys_assets.release.hold import HoldOutcome, place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.releases import read_release
from recsys_assets.release.rollback import roll_back
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.roots import Retention


class TargetConfig(dg.Config):
    """Which target, and why; the reason is kept in the journal."""

    tenant: str = Field(description="tenant")
    surface: str = Field(description="surface")
    actor: str = Field(min_length=1, description="your name; kept in the journal, as the daemon starts runs for all")
    reason: str = Field(description="why; kept in the journal and on the manifest asset")
    dry_run: bool = Field(default=False, description="say what would happen, and change nothing")


class RollbackConfig(TargetConfig):
    """Move one target back to an earlier release."""

    to: str = Field(default="previous", description="previous | a release id | a time like 2026-01-31T04:00:00Z")
    hold: bool = Field(default=True, description="keep automation from shipping until newer good data is there")
    hold_until: str | None = Field(default=None, description="hold until this time instead")


class HoldConfig(TargetConfig):
    """Keep automation from shipping to one target."""

    until: str | None = Field(default=None, description="the hold ends by itself at this time")


class BlockConfig(TargetConfig):
    """Keep readers from showing one item of one target."""

    item: str = Field(min_length=1, description="the item's id, as events and catalog name it")
    until: str | None = Field(default=None, description="the block ends by itself at this time")


class UnblockConfig(TargetConfig):
    """Let readers show a blocked item again."""

    item: str = Field(min_length=1, description="the item's id")


class ShipConfig(TargetConfig):
    """Ship what is staged for a day, proven against every gate."""

    day: str = Field(description="the UTC day, like 2026-01-31")
    override: list[str] = Field(default=[], description="gates of quality whose refusal does not count")
    allow_older: bool = Field(default=False, description="even if what is live holds newer data")


class CollectConfig(dg.Config):
    """Move to the trash what no retained release needs."""

    apply: bool = Field(default=False, description="do it; else only say what would be collected")


class TuneConfig(dg.Config):
    """Try ways to score neighbours on a target's last days; nothing is changed."""

    tenant: str = Field(description="tenant")
    surface: str = Field(description="surface")
    days: int = Field(default=7, ge=1, le=60, description="days that are held out, the last ones with events")


def operation_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """Return the jobs, bound to the configured targets."""
    jobs = (
        ("ship", _ship, "Ship what is staged for a day; builds what an overridden gate kept from being built."),
        ("roll_back", _roll_back, "Move one target back to an earlier release; nothing is recomputed."),
        ("hold", _hold, "Keep automation from shipping to one target."),
        ("release_hold", _release_hold, "Let automation ship to one target again."),
        ("block_item", _block, "Keep readers from showing one item of one target, from their next poll on."),
        ("unblock_item", _unblock, "Let readers show a blocked item of one target again."),
        ("collect_garbage", _collect_all, "Move what no retained release needs to the trash; dry run by default."),
        ("tune", _tune, "Try ways to score neighbours on the last days; the best one's lines are in the log."),
    )
    return [_job(name, make(settings), description) for name, make, description in jobs]


def _roll_back(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def roll_back_target(context: dg.OpExecutionContext, config: RollbackConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        with translate_errors():
            done = roll_back(
                store.store,
                row.target,
                to=config.to,
                by=_by(context, config.reason, config.actor),
                now=_now,
                hold=config.hold,
                until=_instant(config.hold_until),
                dry_run=config.dry_run,
            )
        context.log.info(done.message)
        if done.entry is not None and done.entry.changed:
            release = read_release(store.store, row.target, done.live)
            context.log_event(materialization_of(row, done.entry, release))

    return roll_back_target


def _ship(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def ship_target(context: dg.OpExecutionContext, config: ShipConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        with translate_errors():
            done = ship_day(
                DayContext(store.store, settings, row, _day(config.day), run_id=context.run.run_id),
                by=_by(context, config.reason, config.actor),
                allow_older=config.allow_older,
                dry_run=config.dry_run,
                override=config.override,
            ).outcome
        context.log.info(done.message)
        if done.entry is not None and done.entry.changed:
            context.log_event(materialization_of(row, done.entry, done.release))

    return ship_target


def _hold(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def hold_target(context: dg.OpExecutionContext, config: HoldConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        by, until = _by(context, config.reason, config.actor), _instant(config.until)
        with translate_errors():
            done = place_hold(store.store, row.target, by=by, now=_now, until=until, dry_run=config.dry_run)
        _report(context, row, done)

    return hold_target


def _release_hold(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def release_target(context: dg.OpExecutionContext, config: TargetConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        by = _by(context, config.reason, config.actor)
        with translate_errors():
            done = release_hold(store.store, row.target, by=by, now=_now, dry_run=config.dry_run)
        _report(context, row, done)

    return release_target


def _block(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def block_item_of_target(context: dg.OpExecutionContext, config: BlockConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        by, until = _by(context, config.reason, config.actor), _instant(config.until)
        with translate_errors():
            done = block_item(
                store.store, row.target, config.item, by=by, now=_now, until=until, dry_run=config.dry_run
            )
        _report(context, row, done)

    return block_item_of_target


def _unblock(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def unblock_item_of_target(context: dg.OpExecutionContext, config: UnblockConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        by = _by(context, config.reason, config.actor)
        with translate_errors():
            done = unblock_item(store.store, row.target, config.item, by=by, now=_now, dry_run=config.dry_run)
        _report(context, row, done)

    return unblock_item_of_target


def _collect_all(settings: Settings) -> dg.OpDefinition:
    @dg.op
    def collect_targets(context: dg.OpExecutionContext, config: CollectConfig, store: StoreResource) -> None:
        refusals = [
            message
            for row in settings.targets
            if (message := _collect(context, store.store, row, kept=retention(settings, row), apply=config.apply))
        ]
        if refusals:
            raise dg.Failure("; ".join(refusals), allow_retries=False)

    return collect_targets


def _tune(settings: Settings) -> dg.OpDefinition:
    @dg.op(out=dg.Out(dict[str, Any], description="nDCG by option"))
    def tune_target(context: dg.OpExecutionContext, config: TuneConfig, store: StoreResource) -> dict[str, float]:
        from recsys_assets.pipeline.tune import tune  # noqa: PLC0415 - imports every kernel

        row = settings.find(config.tenant, config.surface)
        with translate_errors():
            found = tune(store.store, settings, row, days=config.days, report=context.log.info)
        numbers = {str(one.option): one.ndcg for one in found.options}
        lines = found.winner.option.lines(settings, row)
        context.log.info("best: %s, %+.4f nDCG; its lines:\n%s", found.winner.option, found.winner.difference, lines)
        context.add_output_metadata({"best": str(found.winner.option), "lines": dg.MetadataValue.md(lines), **numbers})
        return numbers

    return tune_target


def _report(context: dg.OpExecutionContext, row: TargetSettings, done: HoldOutcome | BlockOutcome) -> None:
    context.log.info(done.message)
    if done.entry is not None:
        context.log_event(observation_of(row, done.entry))


def _collect(
    context: dg.OpExecutionContext, store: ObjectStore, row: TargetSettings, *, kept: Retention, apply: bool
) -> str | None:
    """Collect one target, and return why that was refused: it keeps no other target from being collected."""
    by = _by(context, "collection by job")
    try:
        with translate_errors():
            found = collect(store, row.target, by=by, now=_now, retention=kept, apply=apply)
    except dg.Failure as refusal:
        return str(refusal.description)
    word = "collected" if apply else "would collect"
    context.log.info("%s: %s %s, %d bytes", row.target, word, plural(len(found.taken), "artifact"), found.taken_bytes)
    if found.entry is not None:
        context.log_event(observation_of(row, found.entry))
    return None


def _job(name: str, op: Any, description: str) -> dg.JobDefinition:
    @dg.job(name=name, description=description, executor_def=dg.in_process_executor)
    def job() -> None:
        op()

    return job


def _by(context: dg.OpExecutionContext, reason: str, actor: str | None = None) -> Actor:
    """Return the person who launched a job, or for a job that asks for no name the account that runs it."""
    return Actor(name=actor or this_account(), reason=reason, run_id=context.run.run_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise dg.Failure(f"{text!r} is no day: write it like 2026-01-31", allow_retries=False) from error


def _instant(text: str | None) -> datetime | None:
    return parse_rfc3339(text) if text else None
