"""Operation jobs for on-call engineers: a launchpad per operation, with a menu of targets and dry run as default."""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from hashlib import sha256
from typing import Any, Final

import dagster as dg
from pydantic import Field, create_model

from recsys_assets.dagster_defs.attempts import translate_errors
from recsys_assets.dagster_defs.naming import OPERATION_TAG, TARGET_TAG
from recsys_assets.dagster_defs.operation_configs import (
    Operation,
    OperationConfig,
    OperationResult,
    OperationRun,
)
from recsys_assets.dagster_defs.operations import OPERATIONS, SYNC_JOB, follow
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.dagster_defs.reindex import materialization_of, observation_of, report_to_dagster
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import ConfigurationError, RefusedError
from recsys_assets.identity import Target, utc_now
from recsys_assets.messages import plural
from recsys_assets.pipeline.upkeep_settings import age_limits, retention
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.release.releases import find_release
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.trees.collecting import collect_tree
from recsys_assets.trees.tree import open_trees
from recsys_assets.upkeep.age_limits import delete_expired, find_expired
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.retire import retire

COLLECT_JOB: Final = "collect_garbage"
SIGN_JOB: Final = "sign"
PRIORITY: Final = 100  # above every build, for queues without immediate operations
_RETIRE = "Stop serving a target that was removed from the configuration; until then it keeps its last release."


class AllTargetsConfig(dg.Config):
    """Configuration of an operation on every target. A dry run unless `dry_run` is false."""

    dry_run: bool = Field(default=True, description="show what would happen, without changing anything")


class RetireConfig(OperationConfig):
    """Retire a target."""

    target: str = Field(description="tenant/surface of a target that is no longer in the configuration")


def operation_jobs(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> list[dg.JobDefinition]:
    """Return the operation jobs for these targets, named with `prefix`."""
    names = [str(row.target) for row in rows]
    # Dagster's type names are global to the process, which may contain graphs of other targets.
    targets = Enum(f"Target_{sha256(repr(names).encode()).hexdigest()[:8]}", {name: name for name in names})
    return [
        *(
            _target_job(operation, settings, store, targets, prefix=prefix)
            for operation in OPERATIONS
            if _is_enabled(operation, settings)
        ),
        _all_job(COLLECT_JOB, _collect_all(settings, store, rows, prefix=prefix), prefix=prefix),
        _job(f"{prefix}retire", _retire(settings, store, prefix=prefix), _RETIRE, _prefilled(RetireConfig, "")),
        _all_job("reindex", _reindex_all(settings, store, rows, prefix=prefix), prefix=prefix),
        *([_all_job(SIGN_JOB, _sign_all(store, rows, prefix=prefix), prefix=prefix)] if settings.signing_keys else []),
    ]


def _is_enabled(operation: Operation, settings: Settings) -> bool:
    return operation.name != SYNC_JOB or bool(settings.sinks)


def _retire(settings: Settings, store: RunStore, *, prefix: str) -> dg.OpDefinition:
    @dg.op(name=f"{prefix}retire_target", description=_RETIRE)
    def retire_target(context: dg.OpExecutionContext, config: RetireConfig) -> None:
        with translate_errors():
            by, names = _by(context, config.reason, config.actor), config.target.split("/")
            if len(names) != 2:  # noqa: PLR2004 - tenant and surface
                raise ConfigurationError(f"{config.target!r} is not a target: expected tenant/surface")
            target = Target(*names)
            if target in {row.target for row in settings.targets}:
                raise RefusedError(f"{target} is still configured: remove its [[targets]] table first")
            done = retire(store.store, target, by=by, now=utc_now, dry_run=config.dry_run)
        context.log.info("%s: %s", target, done.message)

    return retire_target


def _target_job(
    operation: Operation, settings: Settings, store: RunStore, targets: Any, *, prefix: str
) -> dg.JobDefinition:
    """Return the job of an operation on one target."""
    name = f"{prefix}{operation.name}"
    raw = dg.AssetKey([*RAW.path, prefix.removesuffix("_")]) if prefix else RAW
    target_field: Any = (targets, Field(description="tenant/surface"))
    model: Any = create_model(operation.config.__name__, __base__=operation.config, target=target_field)

    @dg.op(name=f"{name}_target", description=operation.description, config_schema=model.to_config_schema())
    def act(context: dg.OpExecutionContext) -> dict[str, float]:
        config = model(**context.op_config)
        row = next(row for row in settings.targets if str(row.target) == config.target.value)
        context.instance.add_run_tags(context.run_id, {TARGET_TAG: str(row.target)})
        with translate_errors():
            by = _by(context, config.reason, config.actor)
            done = operation.act(OperationRun(context, settings, store.store, row, config, by, raw))
        if done.entry is not None and not config.dry_run and settings.sinks_for(row.target):
            context.log.info("sinks: %s", follow(settings, store.store, row.target).message)
        _report(context, store.store, row, done)
        if done.numbers:
            context.add_output_metadata({"lines": dg.MetadataValue.md(done.lines), **done.numbers})
        elif done.shown:
            context.add_output_metadata(done.shown)
        return dict(done.numbers)

    return _job(name, act, operation.description, _prefilled(model, next(iter(targets)).name), waits=operation.waits)


def _prefilled(config: type[dg.Config], target: str) -> dict[str, object]:
    """Return the initial launchpad configuration: a dry run, with every field set to its default or empty."""
    fields = {
        name: [] if isinstance(field.default, list) else "" if field.is_required() else field.default
        for name, field in config.model_fields.items()
        if field.is_required() or field.default is not None
    }
    return {**fields, "dry_run": True, "target": target}


def _report(context: dg.OpExecutionContext, store: ObjectStore, row: TargetSettings, done: OperationResult) -> None:
    """Log the result and record it on the manifest asset. Raises `dg.Failure` for a failed one."""
    if done.entry is not None:
        release = find_release(store, row.target, done.entry.after) if done.entry.changed and done.entry.after else None
        event = materialization_of(row, done.entry, release) if release else observation_of(row, done.entry)
        context.log_event(event)
    if done.failed:
        raise dg.Failure(done.message, metadata=done.shown, allow_retries=False)
    context.log.info(done.message)


def _collect_all(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str
) -> dg.OpDefinition:
    @dg.op(name=f"{prefix}collect_targets", description="Move artifacts that no retained release needs to the trash.")
    def collect_targets(context: dg.OpExecutionContext, config: AllTargetsConfig) -> None:
        refusals = [
            message
            for row in rows
            if (message := _collect(context, store.store, settings, row, apply=not config.dry_run))
        ]
        by, grace = _by(context, "collection by job", this_account()), timedelta(hours=settings.retention.grace_hours)
        with translate_errors():
            for tree in open_trees(store.store, settings).values():
                done = collect_tree(tree, grace=grace, now=utc_now(), by=by, apply=not config.dry_run)
                context.log.info("%s: %s", tree.hierarchy.name, done.message)
        if refusals:
            raise dg.Failure("; ".join(refusals), allow_retries=False)

    return collect_targets


def _collect(
    context: dg.OpExecutionContext, store: ObjectStore, settings: Settings, row: TargetSettings, *, apply: bool
) -> str | None:
    """Collect one target. Returns the reason of a refusal, so that the other targets are still collected."""
    by = _by(context, "collection by job", this_account())
    retained, limits = retention(settings, row), age_limits(settings, row)
    try:
        with translate_errors():
            collection = collect(store, row.target, by=by, now=utc_now, retention=retained, apply=apply)
            old = () if limits.off else find_expired(store, row.target, limits, now=utc_now, retention=retained)
            old = delete_expired(store, row.target, old, by=by, now=utc_now) if apply else old
    except dg.Failure as refusal:
        return str(refusal.description)
    word = "collected" if apply else "would collect"
    context.log.info(
        "%s: %s %s, %d bytes", row.target, word, plural(len(collection.taken), "artifact"), collection.taken_bytes
    )
    if old:
        context.log.info("%s: %s past age limits: %s", row.target, word, plural(len(old), "object"))
    if collection.entry is not None:
        context.log_event(observation_of(row, collection.entry))
    return None


def _sign_all(store: RunStore, rows: Sequence[TargetSettings], *, prefix: str) -> dg.OpDefinition:
    @dg.op(
        name=f"{prefix}sign_targets", description="Sign live pointers again, so that their signatures do not expire."
    )
    def sign_targets(context: dg.OpExecutionContext, config: AllTargetsConfig) -> None:
        refusals = [refusal for row in rows if (refusal := _sign(context, store.store, row, dry_run=config.dry_run))]
        if refusals:
            raise dg.Failure("; ".join(refusals), allow_retries=False)

    return sign_targets


def _sign(context: dg.OpExecutionContext, store: ObjectStore, row: TargetSettings, *, dry_run: bool) -> str | None:
    """Sign one target's pointer again. Returns the reason of a refusal, so that the others are still signed."""
    from recsys_assets.release.signed_stores import SigningStore, renew  # noqa: PLC0415 - an extra

    try:
        with translate_errors():
            signed = (
                renew(store, store.signer, row.target, dry_run=dry_run) if isinstance(store, SigningStore) else None
            )
    except dg.Failure as refusal:
        return str(refusal.description)
    context.log.info("%s: %s", row.target, f"signed until {signed.expires}" if signed else "nothing is live")
    return None


def _reindex_all(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str
) -> dg.OpDefinition:
    @dg.op(name=f"{prefix}reindex_targets", description="Repair gaps in journals; report shipped releases to Dagster.")
    def reindex_targets(context: dg.OpExecutionContext, config: AllTargetsConfig) -> None:
        by, targets = _by(context, "reindex by job", this_account()), [row.target for row in rows]
        with translate_errors():
            for target in targets:
                repaired = repair_journal(store.store, target, by=by, now=utc_now, dry_run=config.dry_run)
                context.log.info("%s: %s filled", target, plural(len(repaired.filled), "journal entry"))
            reported = report_to_dagster(
                context.instance, store.store, settings, targets=targets, dry_run=config.dry_run
            )
        context.log.info("%s reported to Dagster", plural(reported, "event"))

    return reindex_targets


def _all_job(name: str, op: dg.OpDefinition, *, prefix: str) -> dg.JobDefinition:
    description = f"{op.description} For every target; a dry run unless dry_run is false."
    return _job(f"{prefix}{name}", op, description, {"dry_run": True}, waits=True)


def _job(
    name: str, op: dg.OpDefinition, description: str, prefilled: dict[str, object], *, waits: bool = False
) -> dg.JobDefinition:
    tags = {"dagster/priority": str(PRIORITY)} | ({} if waits else {OPERATION_TAG: name})

    @dg.job(
        name=name,
        description=description,
        executor_def=dg.in_process_executor,
        tags=tags,
        config={"ops": {op.name: {"config": prefilled}}},
    )
    def job() -> None:
        op()

    return job


def _by(context: dg.OpExecutionContext, reason: str, actor: str) -> Actor:
    """Return the actor and reason of a job. Raises `ConfigurationError` for an empty launchpad field."""
    for name, text in (("actor", actor), ("reason", reason)):
        if not text.strip():
            raise ConfigurationError(f"{name} is empty: fill it in for the journal")
    return Actor(name=actor, reason=reason, run_id=context.run.run_id)
