"""Commands that only read: status, log, at, verify, diff, report."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markdown import Markdown

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    clock,
    instant_type,
    json_option,
    open_context,
    target_options,
    wide_option,
)
from recsys_assets.cli.output import Stacked, echo, plain, print_json, print_stacked, print_table, when
from recsys_assets.errors import ConfigurationError, RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.messages import plural, printable
from recsys_assets.pipeline.freshness import look_at_targets
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.hold import is_loud
from recsys_assets.release.journal import message_of, newest_first
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import LiveAt, live_at
from recsys_assets.upkeep.answer_guard import live_empty_share
from recsys_assets.upkeep.diff import LIVE, KindDiff, diff, read_named
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import to_markdown
from recsys_assets.upkeep.staleness import Freshness
from recsys_assets.upkeep.status import TargetStatus, served_targets
from recsys_assets.upkeep.verify import verify

if TYPE_CHECKING:
    from recsys_assets.sinks.configured import SinkStatus


@click.command("status")
@target_options
@json_option
@wide_option
@click.option("--fail-on-stale", is_flag=True, help="end with 1 also for a target that is stale, whatever the cause")
def show_status(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool, fail_on_stale: bool
) -> int:
    """Show what is live per target, who serves it, whether it is stale and why, holds, and the last attempt.

    A target that is served and not in the configuration is shown as that; `retire` ends it. Below each target are the
    kinds that were left out of the live release, and why, and each day of the last week that failed and was not done
    since: which step or gate, with its numbers. It ends with 1 when a target has a problem.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    targets = context.targets if tenant is not None else (*context.targets, *_unconfigured(context))
    found = look_at_targets(context.store, context.settings, targets, now=clock())
    sinks = _sinks(context, targets)
    if as_json:
        more = [{"sinks": one} if context.settings.sinks else {} for one in sinks]
        rows = zip(found, more, strict=True)
        print_json([{**_fields(row), "freshness": age, "configured": age is not None, **m} for (row, age), m in rows])
    else:
        rows = zip(found, sinks, strict=True)
        print_stacked("", (_stacked(row, age, one) for (row, age), one in rows), wide=wide)
    is_stale = fail_on_stale and any(age is not None and not age.fresh for _, age in found)
    is_behind = any(one.is_problem for of_target in sinks for one in of_target)
    return EXIT_REFUSED if is_stale or is_behind or any(row.problems for row, _ in found) else 0


def _sinks(context: CommandContext, targets: Sequence[Target]) -> "list[tuple[SinkStatus, ...]]":
    """Return how the sinks of each target stand."""
    if not context.settings.sinks:
        return [() for _ in targets]
    from recsys_assets.sinks.configured import look_at_sinks  # noqa: PLC0415 - who has none need not load it

    return [look_at_sinks(context.store, context.settings, target, now=clock()) for target in targets]


@click.command("log")
@target_options
@json_option
@wide_option
@click.option(
    "--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="newest entries per target"
)
def show_log(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool, limit: int
) -> int:
    """Show who did what to a pointer, when and why, newest first; refusals too."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    entries = {target: list(islice(newest_first(context.store, target), limit)) for target in context.targets}
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "entries": found} for t, found in entries.items()])
        return 0
    for target, found in entries.items():
        print_stacked(str(target), map(_entry, found), wide=wide)
    return 0


@click.command("at")
@click.argument("time", type=instant_type)
@target_options
@json_option
@wide_option
def show_at(
    *, time: datetime, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool
) -> int:
    """Show what was live at TIME (like 2026-01-31T04:00:00Z), and whether it can still be served."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = {target: live_at(context.store, target, time) for target in context.targets}
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "live": live} for t, live in found.items()])
    else:
        print_stacked(f"live at {time.isoformat()}", (_live_at(str(t), live) for t, live in found.items()), wide=wide)
    return 0


@click.command("verify")
@target_options
@json_option
@wide_option
@click.option("--signatures", is_flag=True, help="the live pointer must be signed by a key of [signing], or --key")
@click.option("--key", "keys", multiple=True, help="public key in PEM that is believed, in place of those of [signing]")
def run_verify(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    as_json: bool,
    wide: bool,
    signatures: bool,
    keys: tuple[str, ...],
) -> int:
    """Read and prove every retained release, byte by byte."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    unproven = _unproven(context, keys) if signatures or keys else {}
    found = [
        verify(
            context.store,
            target,
            keep=context.retention(target).keep,
            more_problems=unproven.get(str(target), ()),
            now=clock(),
        )
        for target in context.targets
    ]
    if as_json:
        print_json(found)
    else:
        for one in found:
            rows = [(p.release_id, p.why, p.data_through, "; ".join(p.faults) or "ok") for p in one.releases]
            print_table(str(one.target), ("release", "why retained", "data through", "verdict"), rows, wide=wide)
            for problem in one.problems:
                echo(f"  problem: {problem}")
            for note in one.notes:
                echo(f"  note: {note}")
    return 0 if all(one.ok for one in found) else EXIT_REFUSED


def _unproven(context: CommandContext, keys: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return, by target, what the signature of its live pointer does not prove."""
    from recsys_assets.release.signatures import Trust, read_signer  # noqa: PLC0415 - an extra
    from recsys_assets.release.signed_stores import signature_faults  # noqa: PLC0415

    settings = context.settings
    if not keys and not settings.signing_keys:
        raise ConfigurationError("no key is believed: name a public one by --key, or set signing.key")
    trust = (
        Trust.of(*keys) if keys else read_signer(settings.signing_keys, valid_days=settings.signing.valid_days).trust
    )
    return {str(one): signature_faults(context.store, one, trust, now=clock()) for one in context.targets}


@click.command("diff")
@click.argument("a")
@click.argument("b")
@target_options
@json_option
@wide_option
def show_diff(
    *, a: str, b: str, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool
) -> int:
    """Show what changes from release A to release B (`live`, or 8 digits of an id): items that enter, leave, move."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = diff(context.store, context.target, a, b)
    if as_json:
        print_json(found)
        return 0
    ends = [f"{plain(release.id, wide=wide)} ({release.data_through})" for release in (found.before, found.after)]
    print_stacked(" -> ".join(ends), map(_changed, found.kinds), wide=wide)
    return 0


def _changed(kind: KindDiff) -> Stacked:
    """Return how many items of a kind entered, left and moved, with the first of each by name."""
    if not kind.counts:
        return Stacked(kind.kind, kind.message, ())
    moved = (f"{item} {before}->{after}" if kind.is_ranking else item for item, before, after in kind.moved[:3])
    named = (("entered", kind.entered[:3]), ("left", kind.left[:3]), ("moved" if kind.is_ranking else "changed", moved))
    counts = ", ".join(f"{kind.counts[name]:,} {name}" for name in ("entered", "left", "moved") if name in kind.counts)
    notes = [(label, ", ".join(items)) for label, items in ((label, list(items)) for label, items in named) if items]
    return Stacked(kind.kind, f"{kind.rows_before or 0:,} -> {plural(kind.rows_after or 0, 'row')}", (counts,), notes)


def _fields(row: TargetStatus) -> dict[str, object]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _unconfigured(context: CommandContext) -> list[Target]:
    """Return the targets that are served and not in the configuration; where they cannot be listed, say so."""
    known = {(target.tenant, target.surface) for target in context.targets}
    try:
        return [found for found in served_targets(context.store) if (found.tenant, found.surface) not in known]
    except RecsysAssetsError as error:
        echo(f"targets that are not in the configuration cannot be listed: {error}", err=True)
        return []


def _stacked(row: TargetStatus, age: Freshness | None, sinks: "Sequence[SinkStatus]") -> Stacked:
    """Return how a target stands: what is live and fresh in a row; holds, causes, attempts and problems below it."""
    now = clock()
    state = "not configured" if age is None else "fresh" if age.fresh else "stale"
    facts = [f"live {row.release}", f"data through {row.data_through}"] if row.release else ["nothing is live"]
    asked, empty = live_empty_share(row.answers)
    if empty is not None:
        facts.append(f"{empty:.1%} of {asked:,} answers empty")
    notes: list[tuple[str, str]] = [("problem", problem) for problem in row.problems]
    if age is not None and not age.fresh:
        notes.append(("stale", f"{age.cause.value}: {age.why}"))
    if row.hold is not None:
        loud = "FORGOTTEN? " if is_loud(row.hold, now=now) else ""
        notes.append(("hold", f"{loud}by {row.hold.actor}, {when(row.hold.at, now=now)}: {row.hold.reason}"))
    if row.last is not None:
        last = row.last
        did = f"{last.action} {last.outcome} {when(last.at, now=now)}"
        notes.append(("last", ": ".join(filter(None, (did, str(last.details.get("message", "")))))))
    if row.consumers is not None and row.consumers.message:
        notes.append(("consumers", row.consumers.message))
    notes += (("problem" if one.is_problem else "sink", f"{one.sink}: {one.message}") for one in sinks)
    if row.blocked:
        notes.append(("blocked", ", ".join(one.item for one in row.blocked)))
    notes += (("left out", f"live is without {kind}: {why}") for kind, why in row.left_out.items())
    notes += (("failed", f"{when(e.at, now=now)}, {e.action}: {message_of(e)}") for e in row.failed)
    return Stacked(f"{row.tenant}/{row.surface}", state, facts, notes)


def _entry(entry: JournalEntry) -> Stacked:
    """Return who did what in an entry, when and why."""
    ends = (entry.before,) if entry.before == entry.after else (entry.before, entry.after)
    releases = " -> ".join(end or "nothing" for end in ends)
    notes = [
        ("", f"{releases}, by {entry.actor}: {entry.reason}" if any(ends) else f"by {entry.actor}: {entry.reason}")
    ]
    if message := entry.details.get("message"):
        notes.append(("", str(message)))
    return Stacked(f"#{entry.sequence} {entry.action}", entry.outcome, (when(entry.at, now=clock()),), notes)


def _live_at(target: str, live: LiveAt | None) -> Stacked:
    """Return what was live of a target, since when, and what of it was collected since."""
    if live is None:
        return Stacked(target, "nothing was live", ())
    data = f"data through {live.record.data_through}" if live.record else "its record is gone"
    notes = [("since", when(live.entry.at, now=clock()))]
    if live.collected:
        notes.append(("collected", ", ".join(live.collected)))
    return Stacked(target, live.release_id, (data,), notes)


@click.command("report")
@target_options
@json_option
@click.option("--release", default=LIVE, show_default=True, help="a release id, 8 digits or more of it, or live")
def show_report(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool, release: str) -> None:
    """Report on one page what a release changed, what its gates found, and its inputs; Markdown when piped."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    record, current = read_named(context.store, context.target, release), read_current(context.store, context.target)
    live = current is not None and current.release_id == record.id
    page = report_release(context.store, context.target, record, live=live)
    if as_json:
        print_json(page)
        return
    text, console = printable(to_markdown(page)), Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        echo(text, nl=False)
