"""Sinks by commands: made to follow behind each change of what is live, and by `sync`; and how they stand."""

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import CommandContext, clock, dry_run_option, json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json
from recsys_assets.errors import ConfigurationError


def follow_after(context: CommandContext) -> int:
    """Make the sinks follow what a command has just done; return 1 if one did not, which is said on standard error."""
    if not context.settings.sinks:
        return 0
    from recsys_assets.sinks.configured import SinkFault, sync_sinks  # noqa: PLC0415 - who has none need not load it
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
@click.option("--sink", "only", multiple=True, metavar="NAME", help="this one of [sinks] alone; may be repeated")
@click.option("--verify", is_flag=True, help="read every row back, and write again what differs or is missing")
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
    """Make every database of [sinks] serve what is live: after a ship, after a rollback, after an outage.

    Rows that are there already are not written again, so running it twice changes nothing, and a run that was killed
    goes on where it was. It ends with 1 if a sink does not follow; the others do.
    """
    from recsys_assets.sinks.configured import SinkFault, look_at_sinks, sync_sinks  # noqa: PLC0415 - as above

    context = open_context(config=config, tenant=tenant, surface=surface)
    if not context.settings.sinks:
        raise ConfigurationError("no sink is configured: add a table [sinks.NAME] to the configuration")
    if dry_run:
        found = [
            (target, one)
            for target in context.targets
            for one in look_at_sinks(context.store, context.settings, target, now=clock(), only=only)
        ]
        if as_json:
            print_json([{"tenant": t.tenant, "surface": t.surface, "status": one} for t, one in found])
        else:
            echo("\n".join(f"{target}: sink {one.sink}: {one.message}" for target, one in found))
        return 0
    results = [
        one
        for target in context.targets
        for one in sync_sinks(context.store, context.settings, target, now=clock, only=only, verify=verify)
    ]
    if as_json:
        print_json(results)
    else:
        for one in results:
            message = one.error if isinstance(one, SinkFault) else one.message
            echo(f"{one.tenant}/{one.surface}: sink {one.sink}: {message}")
    return EXIT_REFUSED if any(isinstance(one, SinkFault) for one in results) else 0
