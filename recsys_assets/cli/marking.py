"""Commands on releases and items: pin, mark-bad, tag and their opposites, marks, block-item, unblock-item."""

from collections.abc import Iterator
from datetime import datetime

import click

from recsys_assets.cli.change_commands import CommandCall, changes_one_target
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    instant_type,
    json_option,
    open_context,
    target_options,
    text_type,
    wide_option,
)
from recsys_assets.cli.output import Stacked, print_json, print_stacked, when
from recsys_assets.identity import Target, utc_now
from recsys_assets.release.blocking import BlockOutcome, block_item, unblock_item
from recsys_assets.release.documents import Label
from recsys_assets.release.labels import Labelled, find_label, labelled, list_tags
from recsys_assets.release.marking import MarkOutcome, mark, tag, unmark
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.status import BlockedStatus, read_blocked_status

_release_option = click.option("--release", required=True, help="live | a release id (8 digits or more) or name")


@changes_one_target("pin")
@_release_option
@click.option("--until", type=instant_type, help="time at which the pin expires")
def run_pin(call: CommandCall, *, release: str, until: datetime | None) -> MarkOutcome:
    """Keep a release from garbage collection, until a time or until `unpin`."""
    context = call.context
    return mark(
        context.store,
        context.target,
        Labelled.PINNED,
        release,
        by=call.by,
        now=utc_now,
        until=until,
        dry_run=call.dry_run,
    )


@changes_one_target("unpin")
@_release_option
def run_unpin(call: CommandCall, *, release: str) -> MarkOutcome:
    """Allow garbage collection of a release again, once it is old enough."""
    return _unmark(call, Labelled.PINNED, release)


@changes_one_target("mark-bad")
@_release_option
def run_mark_bad(call: CommandCall, *, release: str) -> MarkOutcome:
    """Keep a release from shipping and from `rollback --to previous`. The live release does not change."""
    store, target = call.context.store, call.context.target
    return mark(store, target, Labelled.BAD, release, by=call.by, now=utc_now, dry_run=call.dry_run)


@changes_one_target("unmark-bad")
@_release_option
def run_unmark_bad(call: CommandCall, *, release: str) -> MarkOutcome:
    """Allow a release that was marked bad to ship again."""
    return _unmark(call, Labelled.BAD, release)


@changes_one_target("tag")
@click.argument("name")
@_release_option
def run_tag(call: CommandCall, *, name: str, release: str) -> MarkOutcome:
    """Give a release a NAME, such as champion, or move the name from another release.

    A named release is not collected, and `rollback --to NAME` goes back to it.
    """
    return tag(call.context.store, call.context.target, name, release, by=call.by, now=utc_now, dry_run=call.dry_run)


@changes_one_target("untag")
@click.argument("name")
def run_untag(call: CommandCall, *, name: str) -> MarkOutcome:
    """Remove a NAME from its release."""
    return tag(call.context.store, call.context.target, name, None, by=call.by, now=utc_now, dry_run=call.dry_run)


@click.command("marks")
@target_options
@json_option
@wide_option
def show_marks(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool) -> int:
    """List the releases that are named, pinned or marked bad, with time, actor and reason."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    marks_by_target = {target: tuple(_marks(context.store, target)) for target in context.targets}
    if as_json:
        print_json(
            [
                {"tenant": target.tenant, "surface": target.surface, "mark": name, **_fields(label)}
                for target, marks in marks_by_target.items()
                for name, label in marks
            ]
        )
    else:
        print_stacked("", (_stacked(target, marks) for target, marks in marks_by_target.items()), wide=wide)
    return 0


def _unmark(call: CommandCall, label: Labelled, release: str) -> MarkOutcome:
    store, target = call.context.store, call.context.target
    return unmark(store, target, label, release, by=call.by, now=utc_now, dry_run=call.dry_run)


def _marks(store: ObjectStore, target: Target) -> Iterator[tuple[str, Label]]:
    """Yield the names and marks of a target's releases, without expired pins."""
    for release_tag in list_tags(store, target):
        yield (
            release_tag.name,
            Label(release=release_tag.release, at=release_tag.at, actor=release_tag.actor, reason=release_tag.reason),
        )
    for label in Labelled:
        for release_id in labelled(store, target, label, now=utc_now()):
            stored = find_label(store, target, label, release_id)
            if stored is not None:
                yield label.value, stored


def _fields(label: Label) -> dict[str, str | None]:
    until = label.until if isinstance(label.until, str) else None
    return {"release": label.release, "at": label.at, "actor": label.actor, "reason": label.reason, "until": until}


def _stacked(target: Target, marks: tuple[tuple[str, Label], ...]) -> Stacked:
    notes = [(name, _sentence(label)) for name, label in marks]
    return Stacked(str(target), "" if notes else "no marks", (), notes)


def _sentence(label: Label) -> str:
    end = f", until {label.until}" if isinstance(label.until, str) else ""
    return f"{label.release} by {label.actor}, {when(label.at, now=utc_now())}{end}: {label.reason}"


_item_option = click.option("--item", type=text_type, required=True, help="item id as in events and catalog")


@changes_one_target("block-item")
@_item_option
@click.option("--until", type=instant_type, help="time at which the block expires")
def run_block_item(call: CommandCall, *, item: str, until: datetime | None) -> BlockOutcome:
    """Keep readers from showing one item of one target from their next poll on, and omit it from builds.

    Nothing is shipped. Services that read the store without this package stop showing it with the next build, unless
    they read the list too: docs/how-to/block-an-item.md.
    """
    context = call.context
    return block_item(context.store, context.target, item, by=call.by, now=utc_now, until=until, dry_run=call.dry_run)


@changes_one_target("unblock-item")
@_item_option
def run_unblock_item(call: CommandCall, *, item: str) -> BlockOutcome:
    """Let readers show a blocked item of one target again, from their next poll on, and include it in builds."""
    return unblock_item(call.context.store, call.context.target, item, by=call.by, now=utc_now, dry_run=call.dry_run)


@click.command("blocked-items")
@target_options
@json_option
@wide_option
def show_blocked_items(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool
) -> int:
    """List the blocked items with actor and reason, and the number of consumers that honour the list.

    Exits with code 1 if a list cannot be read.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    statuses = [read_blocked_status(context.store, target, now=utc_now()) for target in context.targets]
    if as_json:
        print_json(statuses)
    else:
        print_stacked("", map(_list, statuses), wide=wide)
    return EXIT_REFUSED if any(of.fault for of in statuses) else 0


def _list(of: BlockedStatus) -> Stacked:
    """Return the blocked items of a target, and the consumers that honour the list, as a record."""
    now = utc_now()
    notes = [("problem", of.fault)] if of.fault else [("consumers", of.consumers)]
    for item in of.items:
        end = f", until {item.until}" if item.until else ""
        notes.append((item.item, f"by {item.actor}, {when(item.at, now=now)}{end}: {item.reason}"))
    return Stacked(f"{of.tenant}/{of.surface}", f"{len(of.items)} blocked", (), notes)
