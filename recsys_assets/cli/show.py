"""Commands that only read: status, log, at, verify, diff, report."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import click
from msgspec.structs import asdict
from rich.console import Console
from rich.markdown import Markdown

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    instant_type,
    json_option,
    open_context,
    target_options,
    wide_option,
)
from recsys_assets.cli.output import Stacked, echo, plain, print_json, print_stacked, print_table, when
from recsys_assets.errors import ConfigurationError, RecsysAssetsError
from recsys_assets.identity import Target, utc_now
from recsys_assets.messages import plural, printable
from recsys_assets.pipeline.freshness import look_at_targets
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.hold import is_loud
from recsys_assets.release.journal import message_of, newest_first
from recsys_assets.release.labels import LIVE
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import LiveAt, live_at
from recsys_assets.upkeep.answer_guard import live_empty_share
from recsys_assets.upkeep.diff import KindDiff, diff, read_named
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
@click.option("--fail-on-stale", is_flag=True, help="exit with code 1 also if a target is stale, for any cause")
def show_status(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool, fail_on_stale: bool
) -> int:
    """Show the live release of each target, its consumers and its freshness, with holds and the last attempt.

    A served target that is not in the configuration is marked as such. `retire` stops serving it. Below each target are
    the kinds excluded from the live release with the reason, and each failed day of the last week that has not
    succeeded since, with the step or gate and its values. Exits with code 1 if a target has a problem.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    targets = context.targets if tenant is not None else (*context.targets, *_unconfigured(context))
    statuses = look_at_targets(context.store, context.settings, targets, now=utc_now())
    sinks = _sinks(context, targets)
    if as_json:
        more = [{"sinks": sink_rows} if context.settings.sinks else {} for sink_rows in sinks]
        rows = zip(statuses, more, strict=True)
        print_json([{**asdict(row), "freshness": age, "configured": age is not None, **m} for (row, age), m in rows])
    else:
        rows = zip(statuses, sinks, strict=True)
        print_stacked("", (_stacked(row, age, sink_rows) for (row, age), sink_rows in rows), wide=wide)
    is_stale = fail_on_stale and any(age is not None and not age.fresh for _, age in statuses)
    is_behind = any(sink_rows.is_problem for of_target in sinks for sink_rows in of_target)
    return EXIT_REFUSED if is_stale or is_behind or any(row.problems for row, _ in statuses) else 0


def _sinks(context: CommandContext, targets: Sequence[Target]) -> "list[tuple[SinkStatus, ...]]":
    """Return the status of the sinks of each target."""
    if not context.settings.sinks:
        return [() for _ in targets]
    from recsys_assets.sinks.configured import look_at_sinks  # noqa: PLC0415 - not needed without sinks

    return [look_at_sinks(context.store, context.settings, target, now=utc_now()) for target in targets]


@click.command("log")
@target_options
@json_option
@wide_option
@click.option(
    "--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="number of entries per target"
)
def show_log(
    *, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool, limit: int
) -> int:
    """Show the journal of each target, newest first: actor, action, time and reason, including refusals."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    entries = {target: list(islice(newest_first(context.store, target), limit)) for target in context.targets}
    if as_json:
        print_json(
            [
                {"tenant": t.tenant, "surface": t.surface, "entries": shown_entries}
                for t, shown_entries in entries.items()
            ]
        )
        return 0
    for target, shown_entries in entries.items():
        print_stacked(str(target), map(_entry, shown_entries), wide=wide)
    return 0


@click.command("at")
@click.argument("time", type=instant_type)
@target_options
@json_option
@wide_option
def show_at(
    *, time: datetime, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool
) -> int:
    """Show the release that was live at TIME (such as 2026-01-31T04:00:00Z), and whether it can still be served."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    releases = {target: live_at(context.store, target, time) for target in context.targets}
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "live": live} for t, live in releases.items()])
    else:
        print_stacked(
            f"live at {time.isoformat()}", (_live_at(str(t), live) for t, live in releases.items()), wide=wide
        )
    return 0


@click.command("verify")
@target_options
@json_option
@wide_option
@click.option(
    "--signatures", is_flag=True, help="require a signature of the live pointer by a key of [signing], or by --key"
)
@click.option(
    "--key", "keys", multiple=True, help="trusted public key in PEM, instead of the keys of [signing]; repeatable"
)
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
    """Read and verify every retained release, byte by byte."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    unproven = _unproven(context, keys) if signatures or keys else {}
    results = [
        verify(
            context.store,
            target,
            keep=context.retention(target).keep,
            more_problems=unproven.get(str(target), ()),
            now=utc_now(),
        )
        for target in context.targets
    ]
    if as_json:
        print_json(results)
    else:
        for result in results:
            rows = [(p.release_id, p.why, p.data_through, "; ".join(p.faults) or "ok") for p in result.releases]
            print_table(str(result.target), ("release", "why retained", "data through", "verdict"), rows, wide=wide)
            for problem in result.problems:
                echo(f"  problem: {problem}")
            for note in result.notes:
                echo(f"  note: {note}")
    return 0 if all(result.ok for result in results) else EXIT_REFUSED


def _unproven(context: CommandContext, keys: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the signature faults of live pointers, by target."""
    from recsys_assets.release.signatures import Trust, read_signer  # noqa: PLC0415 - an extra
    from recsys_assets.release.signed_stores import signature_faults  # noqa: PLC0415

    settings = context.settings
    if not keys and not settings.signing_keys:
        raise ConfigurationError("no key is trusted: pass a public key with --key, or set signing.key")
    trust = (
        Trust.of(*keys) if keys else read_signer(settings.signing_keys, valid_days=settings.signing.valid_days).trust
    )
    return {str(target): signature_faults(context.store, target, trust, now=utc_now()) for target in context.targets}


@click.command("diff")
@click.argument("a")
@click.argument("b")
@target_options
@json_option
@wide_option
def show_diff(
    *, a: str, b: str, config: str | None, tenant: str | None, surface: str | None, as_json: bool, wide: bool
) -> int:
    """Show the changes from release A to release B (`live`, or 8 digits of an id): items that enter, leave, move."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    difference = diff(context.store, context.target, a, b)
    if as_json:
        print_json(difference)
        return 0
    ends = [
        f"{plain(release.id, wide=wide)} ({release.data_through})" for release in (difference.before, difference.after)
    ]
    print_stacked(" -> ".join(ends), map(_changed, difference.kinds), wide=wide)
    return 0


def _changed(kind: KindDiff) -> Stacked:
    """Return a record of the items of a kind that entered, left and moved: counts, and the first few ids."""
    if not kind.counts:
        return Stacked(kind.kind, kind.message, ())
    moved = (f"{item} {before}->{after}" if kind.is_ranking else item for item, before, after in kind.moved[:3])
    named = (("entered", kind.entered[:3]), ("left", kind.left[:3]), ("moved" if kind.is_ranking else "changed", moved))
    counts = ", ".join(f"{kind.counts[name]:,} {name}" for name in ("entered", "left", "moved") if name in kind.counts)
    notes = [(label, ", ".join(items)) for label, items in ((label, list(items)) for label, items in named) if items]
    return Stacked(kind.kind, f"{kind.rows_before or 0:,} -> {plural(kind.rows_after or 0, 'row')}", (counts,), notes)


def _unconfigured(context: CommandContext) -> list[Target]:
    """Return the served targets that are not configured. Prints an error if they cannot be listed."""
    configured = {(target.tenant, target.surface) for target in context.targets}
    try:
        return [served for served in served_targets(context.store) if (served.tenant, served.surface) not in configured]
    except RecsysAssetsError as error:
        echo(f"targets that are not in the configuration cannot be listed: {error}", err=True)
        return []


def _stacked(row: TargetStatus, age: Freshness | None, sinks: "Sequence[SinkStatus]") -> Stacked:
    """Return a record of a target's status: release and freshness, and notes on holds, causes and problems."""
    now = utc_now()
    state = "not configured" if age is None else "fresh" if age.fresh else "stale"
    facts = [f"live {row.release}", f"data through {row.data_through}"] if row.release else ["nothing is live"]
    lookups, empty = live_empty_share(row.answers)
    if empty is not None:
        facts.append(f"{empty:.1%} of {lookups:,} answers empty")
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
    notes += (("problem" if item.is_problem else "sink", f"{item.sink}: {item.message}") for item in sinks)
    if row.blocked:
        notes.append(("blocked", ", ".join(item.item for item in row.blocked)))
    notes += (("left out", f"live is without {kind}: {reason}") for kind, reason in row.left_out.items())
    notes += (("failed", f"{when(e.at, now=now)}, {e.action}: {message_of(e)}") for e in row.failed)
    return Stacked(f"{row.tenant}/{row.surface}", state, facts, notes)


def _entry(entry: JournalEntry) -> Stacked:
    """Return a record of a journal entry."""
    ends = (entry.before,) if entry.before == entry.after else (entry.before, entry.after)
    releases = " -> ".join(end or "nothing" for end in ends)
    notes = [
        ("", f"{releases}, by {entry.actor}: {entry.reason}" if any(ends) else f"by {entry.actor}: {entry.reason}")
    ]
    if message := entry.details.get("message"):
        notes.append(("", str(message)))
    return Stacked(f"#{entry.sequence} {entry.action}", entry.outcome, (when(entry.at, now=utc_now()),), notes)


def _live_at(target: str, live: LiveAt | None) -> Stacked:
    """Return a record of the release that was live, its start, and the kinds collected since."""
    if live is None:
        return Stacked(target, "nothing was live", ())
    data = f"data through {live.record.data_through}" if live.record else "its record is gone"
    notes = [("since", when(live.entry.at, now=utc_now()))]
    if live.collected:
        notes.append(("collected", ", ".join(live.collected)))
    return Stacked(target, live.release_id, (data,), notes)


@click.command("report")
@target_options
@json_option
@click.option("--release", default=LIVE, show_default=True, help="release id (8 digits or more), or live")
def show_report(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool, release: str) -> None:
    """Report on one page a release's changes, gate results and inputs. Markdown when piped."""
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
