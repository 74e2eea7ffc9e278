"""Command that registers a file which another team built, tested before anything points at it."""

from dataclasses import dataclass
from datetime import date

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    acting,
    actor_option,
    clock,
    day_type,
    dry_run_option,
    json_option,
    open_context,
    said_type,
    target_options,
)
from recsys_assets.cli.output import echo, print_json, print_table, short
from recsys_assets.evidence import GateReport
from recsys_assets.gates.imported import find_rules
from recsys_assets.identity import ArtifactRef
from recsys_assets.ingest.sources.drop_folder import named_file
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import find_staged, journal_import, judge_import, judge_received, receive, register


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file: its reference, whether it is registered, and what the gates say."""

    ref: ArtifactRef
    day: date
    registered: bool
    passed: bool
    gates: GateReport


@click.command("import")
@click.argument("file")
@target_options
@click.option("--kind", required=True, help="which [imports.<kind>] it is")
@click.option("--day", type=day_type, required=True, help="the UTC day that it is built for")
@click.option("--reason", type=said_type, help="why, for the journal  [default: import of FILE]")
@actor_option
@dry_run_option
@json_option
def run_import(  # noqa: PLR0913 - one parameter per option of the command
    *,
    file: str,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    kind: str,
    day: date,
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Test FILE (a path, or s3://) against contract, live version and limits, and register it for a day.

    What is live stays live: `recsys-assets ship`, or the day's next build, points at it with the rest of the day. The
    journal keeps who registered it and what its gates said; the same file for the same day once more is no news.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    row = context.settings.find(context.target.tenant, context.target.surface)
    received = receive(named_file(file), find_rules(context.settings, row, kind), kind=kind)
    if dry_run:
        report = judge_received(context.store, context.settings, row, received)
    else:
        stood = find_staged(context.store, row, kind, day)
        of_day = DayContext(context.store, context.settings, row, day)
        register(of_day, received, dropped_on=day)
        report = judge_import(of_day, kind)
        if stood != received.blob.ref or not report.passed:
            by = acting(actor, reason or f"import of {file}")
            journal_import(context.store, row.target, received.blob.ref, day, by=by, now=clock(), report=report)
    done = Imported(received.blob.ref, day, not dry_run, report.passed, report)
    if as_json:
        print_json(done)
    else:
        _print(done)
    return 0 if done.passed else EXIT_REFUSED


def _print(done: Imported) -> None:
    rows = [(finding.gate, finding.verdict.value, finding.message) for finding in done.gates.findings]
    print_table(f"{done.ref.kind} of {done.day}: {short(done.ref.version)}", ("gate", "verdict", "found"), rows)
    did = "registered" if done.registered else "dry run: would be registered"
    message = f"{did} as {done.ref.kind} {short(done.ref.version)}"
    if done.passed:
        echo(f"{message}; live when the day ships")
    else:
        echo(f"{message}, and refused: it cannot ship; what is live stays live", err=True)
