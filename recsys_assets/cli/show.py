"""Commands that only read: status, log, at, verify, diff."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from itertools import islice

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import CommandContext, clock, instant_type, json_option, open_context, target_options
from recsys_assets.cli.output import print_json, print_table, short, to_the_second
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.pipeline.freshness import look_at_targets
from recsys_assets.release.history import LiveAt, live_at
from recsys_assets.release.hold import is_loud
from recsys_assets.release.journal import message_of, newest_first
from recsys_assets.upkeep.diff import KindDiff, diff
from recsys_assets.upkeep.staleness import Freshness
from recsys_assets.upkeep.status import TargetStatus, served_targets
from recsys_assets.upkeep.verify import verify


@click.command("status")
@target_options
@json_option
@click.option("--fail-on-stale", is_flag=True, help="end with 1 also for a target that is stale, whatever the cause")
def show_status(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, fail_on_stale: bool
) -> int:
    """Show what is live per target, who serves it, whether it is stale and why, holds, and the last attempt.

    A target that is served and not in the configuration is shown as that; `retire` ends it. Below the table is each day
    of the last week that failed and was not done since: which step or gate, with its numbers; before them each kind
    that was left out of the live release, and why. It ends with 1 when a target has a problem.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    targets = context.targets if tenant is not None else (*context.targets, *_unconfigured(context))
    found = look_at_targets(context.store, context.settings, targets, now=clock())
    if as_json:
        print_json([{**_fields(row), "freshness": age, "configured": age is not None} for row, age in found])
    else:
        columns = ("target", "release", "data through", "stale", "hold", "last attempt", "consumers", "problems")
        print_table("", columns, [_status_row(row, age) for row, age in found])
        for row, _ in found:
            for kind, why in row.left_out.items():
                click.echo(f"{row.tenant}/{row.surface}: live is without {kind}: {why}")
        for failed in (line for row, _ in found for line in _failed_days(row)):
            click.echo(failed)
    is_stale = fail_on_stale and any(age is not None and not age.fresh for _, age in found)
    return EXIT_REFUSED if is_stale or any(row.problems for row, _ in found) else 0


@click.command("log")
@target_options
@json_option
@click.option(
    "--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="newest entries per target"
)
def show_log(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool, limit: int) -> int:
    """Show who did what to a pointer, when and why, newest first; refusals too."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    entries = {target: list(islice(newest_first(context.store, target), limit)) for target in context.targets}
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "entries": found} for t, found in entries.items()])
        return 0
    columns = ("#", "at", "action", "outcome", "from", "to", "actor", "reason", "message")
    for target, found in entries.items():
        rows = [
            (
                e.sequence,
                e.at,
                e.action,
                e.outcome,
                short(e.before),
                short(e.after),
                e.actor,
                e.reason,
                e.details.get("message"),
            )
            for e in found
        ]
        print_table(str(target), columns, rows)
    return 0


@click.command("at")
@click.argument("time", type=instant_type)
@target_options
@json_option
def show_at(*, time: datetime, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Show what was live at TIME (like 2026-01-31T04:00:00Z), and whether it can still be served."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = {target: live_at(context.store, target, time) for target in context.targets}
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "live": live} for t, live in found.items()])
    else:
        columns = ("target", "release", "since", "data through", "collected")
        print_table(f"live at {time.isoformat()}", columns, [_at_row(str(t), live) for t, live in found.items()])
    return 0


@click.command("verify")
@target_options
@json_option
def run_verify(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Read and prove every retained release, byte by byte."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = [verify(context.store, target, keep=context.retention(target).keep) for target in context.targets]
    if as_json:
        print_json(found)
    else:
        for one in found:
            rows = [(short(p.release_id), p.why, p.data_through, "; ".join(p.faults) or "ok") for p in one.releases]
            print_table(str(one.target), ("release", "why retained", "data through", "verdict"), rows)
            for problem in one.problems:
                click.echo(f"  problem: {problem}")
            for note in one.notes:
                click.echo(f"  note: {note}")
    return 0 if all(one.ok for one in found) else EXIT_REFUSED


@click.command("diff")
@click.argument("a")
@click.argument("b")
@target_options
@json_option
def show_diff(*, a: str, b: str, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Show what changes from release A to release B (`live`, or 8 digits of an id): items that enter, leave, move."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = diff(context.store, context.target, a, b)
    if as_json:
        print_json(found)
        return 0
    columns = ("kind", "rows", "entered", "left", "moved", "examples")
    ends = [f"{short(release.id)} ({release.data_through})" for release in (found.before, found.after)]
    title = " -> ".join(ends)
    print_table(title, columns, [_diff_row(kind) for kind in found.kinds])
    return 0


def _diff_row(kind: KindDiff) -> tuple[object, ...]:
    counts = kind.counts or {}
    shown = [f"+{item}" for item in kind.entered[:3]] + [f"-{item}" for item in kind.left[:3]]
    shown += [
        f"{item} {before}->{after}" if kind.is_ranking else f"{item} changed" for item, before, after in kind.moved[:3]
    ]
    rows = f"{kind.rows_before} -> {kind.rows_after}" if kind.counts else None
    return (
        kind.kind,
        rows,
        counts.get("entered"),
        counts.get("left"),
        counts.get("moved"),
        ", ".join(shown) if kind.counts else kind.message,
    )


def _fields(row: TargetStatus) -> dict[str, object]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _unconfigured(context: CommandContext) -> list[Target]:
    """Return the targets that are served and not in the configuration; where they cannot be listed, say so."""
    known = {(target.tenant, target.surface) for target in context.targets}
    try:
        return [found for found in served_targets(context.store) if (found.tenant, found.surface) not in known]
    except RecsysAssetsError as error:
        click.echo(f"targets that are not in the configuration cannot be listed: {error}", err=True)
        return []


def _status_row(row: TargetStatus, age: Freshness | None) -> tuple[object, ...]:
    hold = None
    if row.hold is not None:
        loud = "FORGOTTEN? " if is_loud(row.hold, now=clock()) else ""
        hold = f"{loud}by {row.hold.actor} since {to_the_second(row.hold.at)}: {row.hold.reason}"
    last = row.last
    message = (
        f"{last.action} {last.outcome} at {to_the_second(last.at)}: {last.details.get('message', '')}" if last else None
    )
    consumers = row.consumers.message if row.consumers else None
    problems = "; ".join(row.problems)
    target, release = f"{row.tenant}/{row.surface}", short(row.release)
    stale = "not configured" if age is None else "no" if age.fresh else f"{age.cause.value}: {age.why}"
    return target, release, row.data_through, stale, hold, message, consumers, problems


def _failed_days(row: TargetStatus) -> Iterator[str]:
    for entry in row.failed:
        yield f"failed at {to_the_second(entry.at)}: {row.tenant}/{row.surface}, {entry.action}: {message_of(entry)}"


def _at_row(target: str, live: LiveAt | None) -> tuple[object, ...]:
    if live is None:
        return target, None, None, None, None
    data = live.record.data_through if live.record else "(record is gone)"
    return target, short(live.release_id), live.entry.at, data, ", ".join(live.collected) or "no"
