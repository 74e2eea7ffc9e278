"""Synchronization of sinks: after each change of the live release, and by `sync`."""

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import CommandContext, clock, dry_run_option, json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json
from recsys_assets.errors import ConfigurationError


def follow_after(context: CommandContext) -> int:
    """Synchronize the sinks after a command. Returns 1 and prints a warning if one fails, else 0."""
    if not context.settings.sinks:
        return 0
    from recsys_assets.sinks.configured import SinkFault, sync_sinks  # noqa: PLC0415 - not needed without sinks
    from recsys_assets.sinks.sync import SyncState  # noqa: PLC0415

    code = 0
    for target in context.targets:
        for done in sync_sinks(context.store, context.settings, target, now=clock):
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
            for sink_status in look_at_sinks(context.store, context.settings, target, now=clock(), only=only)
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
        for sink_status in sync_sinks(context.store, context.settings, target, now=clock, only=only, verify=verify)
    ]
    if as_json:
        print_json(results)
    else:
        for sink_status in results:
            message = sink_status.error if isinstance(sink_status, SinkFault) else sink_status.message
            echo(f"{sink_status.tenant}/{sink_status.surface}: sink {sink_status.sink}: {message}")
    return EXIT_REFUSED if any(isinstance(sink_status, SinkFault) for sink_status in results) else 0
