"""Commands that import: files that another system built, and recsys-pipelines' history as releases."""

from datetime import date

import click
import msgspec

from recsys_assets.cli.change_commands import ChangeResult, CommandCall, changes_one_target, deliver_after
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    acting,
    actor_option,
    day_type,
    dry_run_option,
    json_option,
    open_context,
    target_options,
    text_type,
)
from recsys_assets.cli.output import echo, print_json, print_table, short
from recsys_assets.identity import utc_now
from recsys_assets.ingest.sources.discovery import named_file
from recsys_assets.messages import plural
from recsys_assets.migrate.import_history import ComparedVersion, move_in, plan_history, prove_day
from recsys_assets.migrate.pipelines_registry import Registry, read_config
from recsys_assets.observability.export_metrics import export_tests
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.import_by_hand import TriedFile, import_file, try_file
from recsys_assets.pipeline.imported import NodePlace
from recsys_assets.settings.settings import TargetSettings

_kind_option = click.option("--kind", required=True, help="kind of the file, one of [imports.<kind>]")
_EXCLUDED = "  excluded: kinds with a row per user, because their user ids are not hashed by raw.user_key"


@click.command("import")
@click.argument("file")
@target_options
@_kind_option
@click.option("--day", type=day_type, required=True, help="UTC day that the file is for")
@click.option("--parent", help="id of the file's parent node, if its kind has a hierarchy")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="metadata of its node; repeatable")
@click.option("--reason", type=text_type, help="reason for the journal  [default: import of FILE]")
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
    parent: str | None,
    metadata: tuple[str, ...],
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Test FILE (a path or URI) against contract, live version and limits, and register it for a day.

    The live release does not change: `recsys-assets ship`, or the day's next build, ships the file with the rest of the
    day. The journal records the actor and the gate results. Registering the same file for a day again is a no-op.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    row = _row(context)
    of_day = DayContext(context.store, context.settings, row, day)
    by = acting(actor, reason or f"import of {file}")
    node = NodePlace(parent, dict(map(_pair, metadata)))
    try:
        done = import_file(of_day, kind, named_file(file), by=by, now=utc_now(), dry_run=dry_run, node=node)
    finally:
        if not dry_run:
            _report_outside(context, row)
    return _report(done, as_json=as_json)


@click.command("test")
@click.argument("file")
@target_options
@_kind_option
@click.option("--reason", type=text_type, help="reason for the journal  [default: test of FILE]")
@actor_option
@json_option
def run_test(
    *,
    file: str,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    kind: str,
    reason: str | None,
    actor: str | None,
    as_json: bool,
) -> int:
    """Test FILE (a path or URI) against contract, live version, limits and custom gates, and register nothing.

    The journal records the actor, the file and the result. Exits with code 1 if a gate refuses the file.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    row = _row(context)
    by = acting(actor, reason or f"test of {file}")
    try:
        done = try_file(context.store, context.settings, row, kind, named_file(file), by=by, now=utc_now())
    finally:
        _report_outside(context, row)
    return _report(done, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE, such as model=v3", param_hint="--metadata")
    return name, value


def _row(context: CommandContext) -> TargetSettings:
    return context.settings.find(context.target.tenant, context.target.surface)


def _report_outside(context: CommandContext, row: TargetSettings) -> None:
    """Report the result to Prometheus and webhooks. Their failures are printed as warnings."""
    deliver_after(context)
    for fault in export_tests(context.store, context.settings, row, now=utc_now()):
        echo(f"warning: {fault}", err=True)


def _report(done: TriedFile, *, as_json: bool) -> int:
    if as_json:
        print_json(done)
    else:
        rows = [(finding.gate, finding.verdict.value, finding.message) for finding in done.gates.findings]
        of_day = f" of {done.day}" if done.day else ""
        print_table(f"{done.ref.kind}{of_day}: {short(done.ref.version)}", ("gate", "verdict", "found"), rows)
        echo(done.message, err=not done.passed)
    return 0 if done.passed else EXIT_REFUSED


class MoveInOutcome(msgspec.Struct, frozen=True):
    """Outcome of a move: releases found and new, versions compared for a day, and the message."""

    releases: int
    new: int
    proven: tuple[ComparedVersion, ...]
    message: str

    @property
    def exit_code(self) -> int:
        """1 if a compared version differs, which should be explained before the switch, else 0."""
        return int(any(not version.equal for version in self.proven))


@changes_one_target("move-in")
@click.option(
    "--from",
    "folder",
    required=True,
    help="folder, or s3://, gs:// or az://bucket/prefix, that the paths of its configuration are relative to",
)
@click.option("--their-config", help="its JSON configuration, a file or URI; default: its default configuration")
@click.option("--prove", type=day_type, help="day of its canonical data to build and compare")
def run_move_in(call: CommandCall, *, folder: str, their_config: str | None, prove: date | None) -> ChangeResult:
    """Import the history of recsys-pipelines as releases, and check on a day that both build equal versions."""
    settings, target = call.context.settings, call.context.target
    row = settings.find(target.tenant, target.surface)
    registry = Registry(folder, read_config(their_config), target)
    hashed = settings.raw.user_key is not None
    history = plan_history(call.context.store, registry, keep=settings.retention_for(row).keep, without_users=hashed)
    published = [artifact for release in history for artifact in release.artifacts if artifact.last == prove]
    distinct = {artifact.blob.ref: artifact for artifact in published}.values()
    proven = prove_day(settings, row, registry, distinct, prove) if prove else ()
    new = sum(release.is_new for release in history)
    if not call.dry_run:
        new = move_in(call.context.store, settings, registry, history, by=call.by, now=utc_now)
    message = _message(call, history[-1].day, len(history), new, proven)
    return MoveInOutcome(len(history), new, proven, f"{message}\n{_EXCLUDED}" if hashed else message)


def _message(call: CommandCall, last: date, releases: int, new: int, proven: tuple[ComparedVersion, ...]) -> str:
    did = "would move in" if call.dry_run else "moved in"
    lines = [f"{did} {new} of {plural(releases, 'release')}, the last with data through {last}"]
    for version in proven:
        verdict = "equal" if version.equal else f"ours is {short(version.ours)}: {version.message}"
        lines.append(f"  {version.kind} {short(version.theirs)}: {verdict}")
    return "\n".join(lines)
