"""Commands about blocked items: block-item, unblock-item, blocked-items."""

from datetime import datetime

import click

from recsys_assets.cli.change_commands import Call, changes_one_target
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    clock,
    instant_type,
    json_option,
    open_context,
    said_type,
    target_options,
    wide_option,
)
from recsys_assets.cli.output import Stacked, print_json, print_stacked, when
from recsys_assets.release.blocking import BlockOutcome, block_item, unblock_item
from recsys_assets.upkeep.status import Blocked, look_at_blocked

_item_option = click.option(
    "--item", type=said_type, required=True, help="the item's id, as events and catalog name it"
)


@changes_one_target("block-item")
@_item_option
@click.option("--until", type=instant_type, help="the block ends by itself at this time")
def run_block_item(call: Call, *, item: str, until: datetime | None) -> BlockOutcome:
    """Keep readers from showing one item of one target from their next poll on, and builds from naming it.

    Nothing is shipped. Services that read the store without this package see it from the next build on, unless they
    read the list too: docs/how-to/block-an-item.md.
    """
    context = call.context
    return block_item(context.store, context.target, item, by=call.by, now=clock, until=until, dry_run=call.dry_run)


@changes_one_target("unblock-item")
@_item_option
def run_unblock_item(call: Call, *, item: str) -> BlockOutcome:
    """Let readers show a blocked item of one target again, from their next poll on, and builds name it."""
    return unblock_item(call.context.store, call.context.target, item, by=call.by, now=clock, dry_run=call.dry_run)


@click.command("blocked-items")
@target_options
@json_option
@wide_option
def show_blocked_items(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool
) -> int:
    """List the items that are blocked, with who asked for it and why, and how many consumers honour the list.

    It ends with 1 when a list cannot be read.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = [look_at_blocked(context.store, target, now=clock()) for target in context.targets]
    if as_json:
        print_json(found)
    else:
        print_stacked("", map(_list, found), wide=wide)
    return EXIT_REFUSED if any(of.fault for of in found) else 0


def _list(of: Blocked) -> Stacked:
    """Return the blocked items of a target, and who honours the list."""
    now = clock()
    notes = [("problem", of.fault)] if of.fault else [("consumers", of.consumers)]
    for one in of.items:
        end = f", until {one.until}" if one.until else ""
        notes.append((one.item, f"by {one.actor}, {when(one.at, now=now)}{end}: {one.reason}"))
    return Stacked(f"{of.tenant}/{of.surface}", f"{len(of.items)} blocked", (), notes)
