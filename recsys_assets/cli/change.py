"""Commands that change what is live or kept: rollback, hold, release-hold, collect, reindex, restore-pointer."""

from datetime import datetime

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    acting,
    actor_options,
    clock,
    dry_run_option,
    instant_type,
    json_option,
    open_place,
    target_options,
)
from recsys_assets.cli.output import print_json, print_table, short
from recsys_assets.manifest.collect import Collection, collect, explain, restore
from recsys_assets.manifest.hold import place_hold, release_hold
from recsys_assets.manifest.restore import restore_pointer
from recsys_assets.manifest.rollback import roll_back


@click.command("rollback")
@target_options
@actor_options
@dry_run_option
@json_option
@click.option(
    "--to", required=True, help="previous | a release id (8 digits or more) | a time like 2026-01-31T04:00:00Z"
)
@click.option("--no-hold", is_flag=True, help="let the next night ship at once")
@click.option("--hold-until", type=instant_type, help="hold until this time instead of until newer good data")
def run_rollback(  # noqa: PLR0913 - one parameter an option
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    to: str,
    reason: str,
    actor: str | None,
    no_hold: bool,
    hold_until: datetime | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Move one target back to an earlier release; verified first, held afterwards, nothing recomputed."""
    if no_hold and hold_until is not None:
        raise click.UsageError("--no-hold and --hold-until exclude each other")
    place = open_place(config=config, tenant=tenant, surface=surface)
    done = roll_back(
        place.store,
        place.target,
        to=to,
        by=acting(actor, reason),
        now=clock,
        hold=not no_hold,
        until=hold_until,
        dry_run=dry_run,
    )
    if as_json:
        print_json(done)
        return 0
    click.echo(f"{place.target}: {done.told}")
    if done.hold is not None:
        ends = done.hold.until or (f"data after {done.hold.after_data}" if done.hold.after_data else "release-hold")
        click.echo(f"held until {ends}")
    return 0


@click.command("hold")
@target_options
@actor_options
@dry_run_option
@json_option
@click.option("--until", type=instant_type, help="the hold ends by itself at this time")
def run_hold(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    reason: str,
    actor: str | None,
    until: datetime | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Keep automation from shipping to one target; what is built meanwhile is recorded, not shipped."""
    place = open_place(config=config, tenant=tenant, surface=surface)
    done = place_hold(place.store, place.target, by=acting(actor, reason), now=clock, until=until, dry_run=dry_run)
    print_json(done) if as_json else click.echo(f"{place.target}: {done.told}")
    return 0


@click.command("release-hold")
@target_options
@actor_options
@dry_run_option
@json_option
def run_release_hold(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    reason: str,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Let automation ship to one target again."""
    place = open_place(config=config, tenant=tenant, surface=surface)
    done = release_hold(place.store, place.target, by=acting(actor, reason), now=clock, dry_run=dry_run)
    print_json(done) if as_json else click.echo(f"{place.target}: {done.told}")
    return 0


@click.command("restore-pointer")
@target_options
@actor_options
@dry_run_option
@json_option
def run_restore_pointer(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    reason: str,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Put a lost or damaged pointer back to what the journal last told was live."""
    place = open_place(config=config, tenant=tenant, surface=surface)
    done = restore_pointer(place.store, place.target, by=acting(actor, reason), now=clock, dry_run=dry_run)
    print_json(done) if as_json else click.echo(f"{place.target}: {done.told}")
    return 0


@click.command("collect")
@target_options
@click.option("--actor", help="who; else this account and host")
@json_option
@click.option("--apply", is_flag=True, help="do it; else only say what would be collected")
@click.option("--dry-run", is_flag=True, help="say what would be collected: the default")
@click.option("--restore", "restore_key", metavar="KEY", help="take one object (or all: '') back out of the trash")
@click.option("--explain", "explain_key", metavar="KEY", help="why an object is kept, or why not")
def run_collect(  # noqa: PLR0913 - one parameter an option
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
    """Move artifacts that no retained release needs to the trash, and empty what has lain there for its grace."""
    if sum((apply, dry_run, restore_key is not None, explain_key is not None)) > 1:
        raise click.UsageError("--apply, --dry-run, --restore and --explain exclude each other")
    place = open_place(config=config, tenant=tenant, surface=surface)
    by = acting(actor, "collection by command")
    if explain_key is not None:
        told = explain(place.store, place.target, explain_key, now=clock, retention=place.retention(place.target))
        print_json({"key": explain_key, "told": told}) if as_json else click.echo(told)
        return 0
    if restore_key is not None:
        back = restore(place.store, place.target, by=by, now=clock, key=restore_key or None)
        print_json(back) if as_json else click.echo("\n".join(back) or "nothing to restore")
        return 0 if back else EXIT_REFUSED
    found = {
        t: collect(place.store, t, by=by, now=clock, retention=place.retention(t), apply=apply) for t in place.targets
    }
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "collection": c} for t, c in found.items()])
    else:
        for target, collection in found.items():
            _print_collection(str(target), collection)
    return 0


def _print_collection(target: str, found: Collection) -> None:
    rows = [("to trash" if found.applied else "would go to trash", item.key, item.size) for item in found.taken]
    rows += [("emptied" if found.applied else "would be emptied", item.key, item.size) for item in found.emptied]
    rows += [("unknown, left alone", item.key, item.size) for item in found.unknown]
    print_table(target, ("what", "key", "bytes"), rows)
    click.echo(f"kept {len(found.kept)} artifact(s), {sum(item.size for item in found.kept):,} bytes")
    for prefix, (count, size) in found.left_alone.items():
        click.echo(f"never collected here: {prefix} {count} object(s), {size:,} bytes")
    for intent in found.stale_intents:
        click.echo(f"left by a publish that died: {short(intent)}")
