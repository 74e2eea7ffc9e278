"""Garbage collection by command: collect, restore from the trash, or explain why an object is kept."""

from datetime import timedelta

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    acting,
    actor_option,
    json_option,
    open_context,
    target_options,
)
from recsys_assets.cli.output import echo, print_json, print_table, short
from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target, utc_now
from recsys_assets.messages import plural
from recsys_assets.release.journal import Actor
from recsys_assets.trees.collecting import TreeCollection, collect_tree
from recsys_assets.trees.tree import open_trees
from recsys_assets.upkeep.age_limits import (
    QUARANTINE,
    AgeLimits,
    ExpiredObject,
    delete_expired,
    explain_age,
    find_expired,
    find_expired_quarantine,
)
from recsys_assets.upkeep.collect import Collection, collect, explain, restore


@click.command("collect")
@target_options
@actor_option
@json_option
@click.option("--apply", is_flag=True, help="collect; without it, only report what would be collected")
@click.option(
    "--dry-run", is_flag=True, help="report what would be collected (the default), or what --restore would restore"
)
@click.option("--restore", "restore_key", metavar="KEY", help="restore one object (or all: '') from the trash")
@click.option("--explain", "explain_key", metavar="KEY", help="explain why an object is kept or collected")
def run_collect(  # noqa: PLR0913 - one parameter per option
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    actor: str | None,
    as_json: bool,
    apply: bool,
    dry_run: bool,
    restore_key: str | None,
    explain_key: str | None,
) -> int:
    """Move artifacts that no retained release needs to the trash, and delete it after the grace period."""
    if sum((apply, restore_key is not None, explain_key is not None)) > 1 or (apply and dry_run):
        raise click.UsageError(
            "--apply, --restore and --explain are mutually exclusive, and so are --dry-run and --apply"
        )
    context = open_context(config=config, tenant=tenant, surface=surface)
    by = acting(actor, "collection by command")
    if explain_key is not None:
        message = _explain(context, explain_key)
        print_json({"key": explain_key, "message": message}) if as_json else echo(message)
        return 0
    if restore_key is not None:
        back = restore(context.store, context.target, by=by, now=utc_now, key=restore_key or None, dry_run=dry_run)
        print_json(back) if as_json else echo("\n".join(back) or "nothing to restore")
        return 0 if back or not restore_key else EXIT_REFUSED
    collections = {target: _collect(context, target, by=by, apply=apply) for target in context.targets}
    old = {
        target: () if isinstance(outcome, RefusedError) else _age_out(context, target, by=by, apply=apply)
        for target, outcome in collections.items()
    }
    quarantine = _age_out_quarantine(context, apply=apply)
    trees = _collect_trees(context, by=by, apply=apply)
    if as_json:
        rows = [{**_document(target, outcome), "old": old[target]} for target, outcome in collections.items()]
        print_json([*rows, *trees])
    else:
        for target, outcome in collections.items():
            _print_outcome(str(target), outcome)
            _print_old(str(target), old[target], applied=apply)
        _print_old("quarantine", quarantine, applied=apply)
        for tree in trees:
            echo(f"{tree.hierarchy}: {tree.message}")
    return EXIT_REFUSED if any(isinstance(outcome, RefusedError) for outcome in collections.values()) else 0


def _explain(context: CommandContext, key: str) -> str:
    target = context.target
    retention, limits = context.retention(target), context.age_limits(target)
    reason = explain_age(context.store, target, key, limits, now=utc_now, retention=retention)
    return reason or explain(context.store, target, key, now=utc_now, retention=retention)


def _age_out(context: CommandContext, target: Target, *, by: Actor, apply: bool) -> tuple[ExpiredObject, ...]:
    """Return the objects of a target beyond their age limits. With `apply`, deletes them."""
    limits = context.age_limits(target)
    if limits.off:
        return ()
    old = find_expired(context.store, target, limits, now=utc_now, retention=context.retention(target))
    return delete_expired(context.store, target, old, by=by, now=utc_now) if apply else old


def _age_out_quarantine(context: CommandContext, *, apply: bool) -> tuple[ExpiredObject, ...]:
    """Return the bad lines of all targets beyond their age limit. With `apply`, deletes them."""
    days = context.settings.retention.quarantine_days if len(context.targets) >= len(context.settings.targets) else None
    old = find_expired_quarantine(context.store, AgeLimits({QUARANTINE: days} if days else {}), now=utc_now)
    for item in old if apply else ():
        context.store.delete(item.item.key)
    return old


def _collect_trees(context: CommandContext, *, by: Actor, apply: bool) -> list[TreeCollection]:
    """Collect the artifact trees, empty if a target was selected, because trees belong to no target."""
    if len(context.targets) < len(context.settings.targets):
        return []
    grace = timedelta(hours=context.settings.retention.grace_hours)
    trees = open_trees(context.store, context.settings).values()
    return [collect_tree(tree, grace=grace, now=utc_now(), by=by, apply=apply) for tree in trees]


def _print_old(title: str, old: tuple[ExpiredObject, ...], *, applied: bool) -> None:
    if old:
        word = "deleted" if applied else "would be deleted"
        rows = [(f"{word}, by retention.{expired.setting}", expired.item.key, expired.item.size) for expired in old]
        print_table(title, ("what", "key", "bytes"), rows)


def _collect(context: CommandContext, target: Target, *, by: Actor, apply: bool) -> Collection | RefusedError:
    """Collect a target. A refusal is returned, so that the other targets are still collected."""
    try:
        return collect(context.store, target, by=by, now=utc_now, retention=context.retention(target), apply=apply)
    except RefusedError as refusal:
        return refusal


def _document(target: Target, outcome: Collection | RefusedError) -> dict[str, object]:
    refused = isinstance(outcome, RefusedError)
    return {
        "tenant": target.tenant,
        "surface": target.surface,
        "collection": None if refused else outcome,
        "refused": str(outcome) if refused else None,
    }


def _print_outcome(target: str, outcome: Collection | RefusedError) -> None:
    if isinstance(outcome, RefusedError):
        echo(f"refused: {outcome}", err=True)
    else:
        _print_collection(target, outcome)


def _print_collection(target: str, collection: Collection) -> None:
    rows = [
        ("to trash" if collection.applied else "would go to trash", item.key, item.size) for item in collection.taken
    ]
    rows += [
        ("emptied" if collection.applied else "would be emptied", item.key, item.size) for item in collection.emptied
    ]
    rows += [("unknown, left alone", item.key, item.size) for item in collection.unknown]
    print_table(target, ("what", "key", "bytes"), rows)
    echo(f"kept {plural(len(collection.kept), 'artifact')}, {sum(item.size for item in collection.kept):,} bytes")
    for prefix, (count, size) in collection.left_alone.items():
        echo(f"never collected here: {prefix} {plural(count, 'object')}, {size:,} bytes")
    if collection.dead_heartbeats:
        echo(f"consumers without a heartbeat for a long time: {len(collection.dead_heartbeats)}")
    for intent in collection.stale_intents:
        echo(f"left by an interrupted publish: {short(intent)}")
