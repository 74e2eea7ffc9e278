"""What on-call people start from the UI: roll back, hold, release a hold, collect; as the commands do."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.defs.events import materialization_of, observation_of
from recsys_assets.defs.outcomes import told_to_dagster
from recsys_assets.defs.resources import StoreResource
from recsys_assets.identity import parse_rfc3339
from recsys_assets.manifest.account import this_account
from recsys_assets.manifest.collect import collect
from recsys_assets.manifest.hold import place_hold, release_hold
from recsys_assets.manifest.journal import Actor
from recsys_assets.manifest.releases import read_release
from recsys_assets.manifest.rollback import roll_back
from recsys_assets.manifest.roots import Retention
from recsys_assets.stages.retention import retention
from recsys_assets.storage.store import ObjectStore


class TargetConfig(dg.Config):
    """Which target, and why; the reason stands in the journal."""

    tenant: str = Field(description="tenant")
    surface: str = Field(description="surface")
    reason: str = Field(description="why; it stands in the journal and on the manifest asset")
    dry_run: bool = Field(default=False, description="say what would happen, and change nothing")


class RollbackConfig(TargetConfig):
    """Move one target back to an earlier release."""

    to: str = Field(default="previous", description="previous | a release id | a time like 2026-01-31T04:00:00Z")
    hold: bool = Field(default=True, description="keep automation from shipping until newer good data is there")
    hold_until: str | None = Field(default=None, description="hold until this time instead")


class HoldConfig(TargetConfig):
    """Keep automation from shipping to one target."""

    until: str | None = Field(default=None, description="the hold ends by itself at this time")


class CollectConfig(dg.Config):
    """Move to the trash what no retained release needs."""

    apply: bool = Field(default=False, description="do it; else only say what would be collected")


def operation_jobs(settings: Settings) -> list[dg.JobDefinition]:
    """Return the jobs, bound to the configured targets."""

    @dg.op
    def roll_back_target(context: dg.OpExecutionContext, config: RollbackConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        with told_to_dagster():
            done = roll_back(
                store.store,
                row.target,
                to=config.to,
                by=_by(context, config.reason),
                now=_now,
                hold=config.hold,
                until=_instant(config.hold_until),
                dry_run=config.dry_run,
            )
        context.log.info(done.told)
        if done.entry is not None and done.entry.changed:
            release = read_release(store.store, row.target, done.live)
            context.log_event(materialization_of(row, done.entry, release))

    @dg.op
    def hold_target(context: dg.OpExecutionContext, config: HoldConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        with told_to_dagster():
            done = place_hold(
                store.store,
                row.target,
                by=_by(context, config.reason),
                now=_now,
                until=_instant(config.until),
                dry_run=config.dry_run,
            )
        context.log.info(done.told)
        if done.entry is not None:
            context.log_event(observation_of(row, done.entry))

    @dg.op
    def release_target(context: dg.OpExecutionContext, config: TargetConfig, store: StoreResource) -> None:
        row = settings.find(config.tenant, config.surface)
        with told_to_dagster():
            done = release_hold(
                store.store,
                row.target,
                by=_by(context, config.reason),
                now=_now,
                dry_run=config.dry_run,
            )
        context.log.info(done.told)
        if done.entry is not None:
            context.log_event(observation_of(row, done.entry))

    @dg.op
    def collect_targets(context: dg.OpExecutionContext, config: CollectConfig, store: StoreResource) -> None:
        refusals = [
            told
            for row in settings.targets
            if (told := _collect(context, store.store, row, kept=retention(settings, row), apply=config.apply))
        ]
        if refusals:
            raise dg.Failure("; ".join(refusals), allow_retries=False)

    return [
        _job("roll_back", roll_back_target, "Move one target back to an earlier release; nothing is recomputed."),
        _job("hold", hold_target, "Keep automation from shipping to one target."),
        _job("release_hold", release_target, "Let automation ship to one target again."),
        _job(
            "collect_garbage", collect_targets, "Move what no retained release needs to the trash; dry run by default."
        ),
    ]


def _collect(
    context: dg.OpExecutionContext, store: ObjectStore, row: TargetSettings, *, kept: Retention, apply: bool
) -> str | None:
    """Collect one target, and return why that was refused: it keeps no other target from being collected."""
    by = _by(context, "collection by job")
    try:
        with told_to_dagster():
            found = collect(store, row.target, by=by, now=_now, retention=kept, apply=apply)
    except dg.Failure as refusal:
        return str(refusal.description)
    word = "collected" if apply else "would collect"
    context.log.info("%s: %s %d artifact(s), %d bytes", row.target, word, len(found.taken), found.taken_bytes)
    if found.entry is not None:
        context.log_event(observation_of(row, found.entry))
    return None


def _job(name: str, op: Any, description: str) -> dg.JobDefinition:
    @dg.job(name=name, description=description, executor_def=dg.in_process_executor)
    def job() -> None:
        op()

    return job


def _by(context: dg.OpExecutionContext, reason: str) -> Actor:
    return Actor(name=this_account(), reason=reason, run_id=context.run.run_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _instant(text: str | None) -> datetime | None:
    return parse_rfc3339(text) if text else None
