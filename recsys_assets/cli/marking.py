"""Commands about single releases: pin, unpin, mark-bad, unmark-bad, tag, untag, marks."""

from collections.abc import Iterator
from datetime import datetime

import click

from recsys_assets.cli.change_commands import Call, changes_one_target
from recsys_assets.cli.options import clock, instant_type, json_option, open_context, target_options, wide_option
from recsys_assets.cli.output import Stacked, print_json, print_stacked, when
from recsys_assets.identity import Target
from recsys_assets.release.documents import Label
from recsys_assets.release.labels import Labelled, find_label, labelled, list_tags
from recsys_assets.release.marking import Marked, mark, tag, unmark
from recsys_assets.storage.store import ObjectStore

_release_option = click.option("--release", required=True, help="live | a release id (8 digits or more) or name")


@changes_one_target("pin")
@_release_option
@click.option("--until", type=instant_type, help="the pin ends by itself at this time")
def run_pin(call: Call, *, release: str, until: datetime | None) -> Marked:
    """Keep a release from garbage collection, until a time or until `unpin`."""
    context = call.context
    return mark(
        context.store,
        context.target,
        Labelled.PINNED,
        release,
        by=call.by,
        now=clock,
        until=until,
        dry_run=call.dry_run,
    )


@changes_one_target("unpin")
@_release_option
def run_unpin(call: Call, *, release: str) -> Marked:
    """Let garbage collection take a release again once it is old enough."""
    return _unmark(call, Labelled.PINNED, release)


@changes_one_target("mark-bad")
@_release_option
def run_mark_bad(call: Call, *, release: str) -> Marked:
    """Keep a release from shipping, and from being what `rollback --to previous` chooses; what is live stays live."""
    store, target = call.context.store, call.context.target
    return mark(store, target, Labelled.BAD, release, by=call.by, now=clock, dry_run=call.dry_run)


@changes_one_target("unmark-bad")
@_release_option
def run_unmark_bad(call: Call, *, release: str) -> Marked:
    """Let a release ship again that was marked bad."""
    return _unmark(call, Labelled.BAD, release)


@changes_one_target("tag")
@click.argument("name")
@_release_option
def run_tag(call: Call, *, name: str, release: str) -> Marked:
    """Give a release a NAME, like champion, or move it there from another one.

    A release with a name is kept from garbage collection, and `rollback --to NAME` goes back to it.
    """
    return tag(call.context.store, call.context.target, name, release, by=call.by, now=clock, dry_run=call.dry_run)


@changes_one_target("untag")
@click.argument("name")
def run_untag(call: Call, *, name: str) -> Marked:
    """Take a NAME off the release that has it."""
    return tag(call.context.store, call.context.target, name, None, by=call.by, now=clock, dry_run=call.dry_run)


@click.command("marks")
@target_options
@json_option
@wide_option
def show_marks(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool) -> int:
    """List which releases have a name, are pinned or marked bad, since when, by whom and why."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = {target: tuple(_marks(context.store, target)) for target in context.targets}
    if as_json:
        print_json(
            [
                {"tenant": target.tenant, "surface": target.surface, "mark": name, **_fields(label)}
                for target, marks in found.items()
                for name, label in marks
            ]
        )
    else:
        print_stacked("", (_stacked(target, marks) for target, marks in found.items()), wide=wide)
    return 0


def _unmark(call: Call, label: Labelled, release: str) -> Marked:
    store, target = call.context.store, call.context.target
    return unmark(store, target, label, release, by=call.by, now=clock, dry_run=call.dry_run)


def _marks(store: ObjectStore, target: Target) -> Iterator[tuple[str, Label]]:
    """Yield every name and mark of a target's releases; a pin that has ended is none."""
    for one in list_tags(store, target):
        yield one.name, Label(release=one.release, at=one.at, actor=one.actor, reason=one.reason)
    for label in Labelled:
        for release_id in labelled(store, target, label, now=clock()):
            found = find_label(store, target, label, release_id)
            if found is not None:
                yield label.value, found


def _fields(label: Label) -> dict[str, str | None]:
    until = label.until if isinstance(label.until, str) else None
    return {"release": label.release, "at": label.at, "actor": label.actor, "reason": label.reason, "until": until}


def _stacked(target: Target, marks: tuple[tuple[str, Label], ...]) -> Stacked:
    notes = [(name, _sentence(label)) for name, label in marks]
    return Stacked(str(target), "" if notes else "no marks", (), notes)


def _sentence(label: Label) -> str:
    end = f", until {label.until}" if isinstance(label.until, str) else ""
    return f"{label.release} by {label.actor}, {when(label.at, now=clock())}{end}: {label.reason}"
