"""Commands that change targets: their decorators, the sync of sinks and the delivery of webhooks after each change.

Sinks and webhooks also have commands of their own: `sync`, and `deliver` where the daemon of Dagster does not run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Protocol, runtime_checkable

import click
import msgspec

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    acting,
    actor_options,
    dry_run_option,
    json_option,
    open_context,
    target_options,
)
from recsys_assets.cli.output import echo, print_json
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import utc_now
from recsys_assets.release.journal import Actor
from recsys_assets.settings.outputs import receivers

_RECEIVER_TIMEOUT_SECONDS = 5.0  # after which a command leaves delivery to the sensor or `deliver`


class ChangeResult(Protocol):
    """Outcome of a change: a document with a message for people."""

    @property
    def message(self) -> str:
        """One sentence about what happened, or would happen."""
        ...


@runtime_checkable
class HasExitCode(Protocol):
    """Outcome of a change with an exit code."""

    @property
    def exit_code(self) -> int:
        """0, or 1 if the outcome needs attention."""
        ...


class CommandCall(msgspec.Struct, frozen=True):
    """One call of a change command: its context, its actor with a reason, and whether it is a dry run."""

    context: CommandContext
    by: Actor
    dry_run: bool


def changes_one_target(name: str) -> Callable[[Callable[..., ChangeResult]], click.Command]:
    """Return a decorator that makes a function of a `CommandCall` and its own options a command called `name`.

    The command adds --config, --tenant, --surface, --reason, --actor, --dry-run and --json. It exits with the code of
    the outcome, or 0 if the outcome has none.
    """

    def report(act: Callable[..., ChangeResult], call: CommandCall, own: Mapping[str, object], *, as_json: bool) -> int:
        target = call.context.target
        done = act(call, **own)
        print_json(done) if as_json else echo(f"{target}: {done.message}")
        return done.exit_code if isinstance(done, HasExitCode) else 0

    return lambda act: _command(name, act, report)


def changes_targets(
    name: str, *, line: Callable[[Any], str]
) -> Callable[[Callable[..., Sequence[HasExitCode]]], click.Command]:
    """Return such a decorator for a function that changes all targets of its `CommandCall`, printed by `line` each.

    It exits with the highest of their codes.
    """

    def report(
        act: Callable[..., Sequence[HasExitCode]], call: CommandCall, own: Mapping[str, object], *, as_json: bool
    ) -> int:
        done = act(call, **own)
        print_json({"targets": done}) if as_json else echo("\n".join(map(line, done)))
        return max(result.exit_code for result in done)

    return lambda act: _command(name, act, report)


def _command(name: str, act: Callable[..., Any], report: Callable[..., int]) -> click.Command:
    @click.command(name)
    @target_options
    @actor_options
    @dry_run_option
    @json_option
    @wraps(act)
    def command(
        *,
        config: str | None,
        tenant: str | None,
        surface: str | None,
        reason: str,
        actor: str | None,
        dry_run: bool,
        as_json: bool,
        **own: object,
    ) -> int:
        context = open_context(config=config, tenant=tenant, surface=surface)
        try:
            code = report(act, CommandCall(context, acting(actor, reason), dry_run), own, as_json=as_json)
            return code if dry_run else max(code, follow_after(context))
        finally:  # webhooks also report refusals
            if not dry_run:
                deliver_after(context)

    return command


def follow_after(context: CommandContext) -> int:
    """Synchronize the sinks after a command. Returns 1 and prints a warning if one fails, else 0."""
    if not context.settings.sinks:
        return 0
    from recsys_assets.sinks.configured import SinkFault, sync_sinks  # noqa: PLC0415 - not needed without sinks
    from recsys_assets.sinks.sync import SyncState  # noqa: PLC0415

    code = 0
    for target in context.targets:
        for done in sync_sinks(context.store, context.settings, target, now=utc_now):
            if isinstance(done, SinkFault):
                echo(f"warning: {target}: sink {done.sink} does not follow yet: {done.error}", err=True)
                code = EXIT_REFUSED
            elif done.state is not SyncState.UNCHANGED:
                echo(f"{target}: sink {done.sink}: {done.message}", err=True)
    return code


@click.command("sync")
@target_options
@click.option("--sink", "only", multiple=True, metavar="NAME", help="only this one of [sinks]; repeatable")
@click.option("--verify", is_flag=True, help="read every row back, and rewrite rows that differ or are missing")
@dry_run_option
@json_option
def run_sync(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    only: tuple[str, ...],
    verify: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Bring every database of [sinks] to the live release: after a ship, a rollback or an outage.

    Existing rows are not rewritten, so a second run changes nothing and an interrupted run continues. Exits with code 1
    if a sink fails. The others are still synchronized.
    """
    from recsys_assets.sinks.configured import SinkFault, look_at_sinks, sync_sinks  # noqa: PLC0415 - as above

    context = open_context(config=config, tenant=tenant, surface=surface)
    if not context.settings.sinks:
        raise ConfigurationError("no sink is configured: add a table [sinks.NAME]")
    if dry_run:
        statuses = [
            (target, sink_status)
            for target in context.targets
            for sink_status in look_at_sinks(context.store, context.settings, target, now=utc_now(), only=only)
        ]
        if as_json:
            print_json(
                [{"tenant": t.tenant, "surface": t.surface, "status": sink_status} for t, sink_status in statuses]
            )
        else:
            echo(
                "\n".join(
                    f"{target}: sink {sink_status.sink}: {sink_status.message}" for target, sink_status in statuses
                )
            )
        return 0
    results = [
        sink_status
        for target in context.targets
        for sink_status in sync_sinks(context.store, context.settings, target, now=utc_now, only=only, verify=verify)
    ]
    if as_json:
        print_json(results)
    else:
        for sink_status in results:
            message = sink_status.error if isinstance(sink_status, SinkFault) else sink_status.message
            echo(f"{sink_status.tenant}/{sink_status.surface}: sink {sink_status.sink}: {message}")
    return EXIT_REFUSED if any(isinstance(sink_status, SinkFault) for sink_status in results) else 0


def deliver_after(context: CommandContext) -> None:
    """Send the events of a command. The sensor, `deliver` or the next change sends what is not delivered now."""
    if not receivers(context.settings.webhooks):
        return
    from recsys_assets.observability.webhooks import deliver  # noqa: PLC0415 - imports the build pipeline

    rows = [row for row in context.settings.targets if row.target in context.targets]
    faults = deliver(
        context.store, context.settings, rows, now=utc_now, look_at_freshness=False, seconds=_RECEIVER_TIMEOUT_SECONDS
    )
    for fault in faults:
        echo(f"warning: {fault}", err=True)


@click.command("deliver")
@target_options
@json_option
def run_deliver(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Send undelivered events to [[webhooks]], including targets that turned stale or fresh.

    The sensor `webhooks` does the same every 30 seconds where Dagster's daemon runs. Exits with code 1 if a receiver
    did not accept an event, which is then retried later.
    """
    from recsys_assets.observability.webhooks import deliver  # noqa: PLC0415 - imports the build pipeline

    context = open_context(config=config, tenant=tenant, surface=surface)
    rows = [row for row in context.settings.targets if row.target in context.targets]
    faults = deliver(context.store, context.settings, rows, now=utc_now)
    print_json({"faults": faults}) if as_json else echo(
        "\n".join(faults) or "everything is delivered", err=bool(faults)
    )
    return EXIT_REFUSED if faults else 0
